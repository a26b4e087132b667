// One class with its photos: what is there, what is on its way, and every way to add some.
import { h, plural } from "./parts.js";
import { block } from "./blocks.js";
import { hasCamera, openCamera } from "./camera.js";
import { filesChosen, filesDropped, isZip, readable } from "./dropped.js";
import { ask, of } from "./requests.js";
import { S } from "./store.js";
import { add, forgetRefused, ofClass, pictureOf, takenIn } from "./uploads.js";
import { list, number, photos } from "./words.js";

const MANY = 16; // photos a page
const WAITING = 8; // files on their way that are shown
const NAMED = 50; // refused files that are named

const thumbnail = (sha) => of(S.project, `photo/${sha}?size=160`);

/** Where photos come from, most first: 40 uploaded, 20 from flickr.com. */
function sources(found) {
  const rows = Object.entries(found || {}).map(([name, n]) => [name || "your own files", n]).sort((a, b) => b[1] - a[1]);
  const more = rows.length - 3;
  return rows.length ? `From ${list([...rows.slice(0, 3).map(([name, n]) => `${name} (${number(n)})`), ...(more > 0 ? [`${more} more`] : [])])}.` : "";
}

/** What the photos of a class are used for, as far as that is settled. */
function uses(row) {
  const parts = [[row.train, "to learn from"], [row.valid, "to tune on"], [row.test, "to judge with"]].filter(([n]) => n).map(([n, words]) => `${number(n)} ${words}`);
  const apart = [[row.set_aside, "set aside"], [row.dropped, "dropped"]].filter(([n]) => n).map(([n, words]) => `${number(n)} ${words}`);
  return [parts.length ? `${list(parts)}.` : "", apart.length ? `Not used: ${list(apart)}.` : ""].filter(Boolean).join(" ");
}

/** The column of a class; label "": of photos without one. split(files): what to do with files that
 * lie in folders, for the step to decide; search(label): to search for photos of it. Returns the element and `update(state)`. */
export function column(label, { split, search }) {
  const C = { offset: 0, page: null, seen: "", near: false, fetching: false };
  const title = label || "Without a class", whose = label ? `of ${label}` : "without a class";
  const head = h("div", { class: "head" }), waiting = h("div", { class: "thumbs waiting" }), sheet = h("div", { class: "thumbs" });
  const pager = h("div", { class: "pager" }), refused = h("div", { class: "refused", role: "status" });
  const input = h("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif", hidden: true, "aria-label": `Choose photos ${whose}` });
  input.addEventListener("change", () => { take(filesChosen(input)); input.value = ""; });
  const tools = h("div", { class: "tools" }, h("button", { type: "button", class: "choose", "aria-label": `Choose photos ${whose}`, onclick: () => input.click() }, "Choose photos"),
    hasCamera() ? h("button", { type: "button", "aria-label": `Camera for photos ${whose}`, onclick: () => openCamera(label, (file, name) => add(S.project, label, [{ file, name }])) }, "Camera") : null,
    label ? h("button", { type: "button", "aria-label": `Search for photos ${whose}`, onclick: () => search(label) }, "Search") : null, input);
  const node = h("section", { class: "column", "data-label": label, "aria-label": title, tabindex: -1 }, head, h("div", { class: "drop" }, h("p", { class: "soft" }, "Drop photos here, or"), tools), refused, waiting, sheet, pager);
  for (const kind of ["dragenter", "dragover"]) node.addEventListener(kind, (event) => { event.preventDefault(); node.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) node.addEventListener(kind, () => node.classList.remove("over"));
  node.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    take(await filesDropped(event.dataTransfer));
  });

  /** Files of this class; a zip file or folders of several classes are for the step to decide. */
  function take(files) {
    if (files.some(isZip)) { split(files); return; }
    const { photos: found, others } = readable(files);
    add(S.project, label, found.map((one) => ({ file: one.file, name: one.path.join("/") })));
    C.others = others.map((one) => one.path.join("/"));
    drawRefused();
  }

  async function fetchPage() {
    if (C.fetching || !C.near) return;
    C.fetching = true;
    const project = S.project, wanted = C.wanted;
    try {
      const page = await ask(of(project, `photos?${new URLSearchParams({ label, offset: C.offset, limit: MANY })}`));
      if (project !== S.project) return;
      Object.assign(C, { page, seen: wanted, error: "" });
      if (!S.state.photos.uploads_waiting) takenIn();
    } catch (error) {
      Object.assign(C, { error: error.message, seen: wanted });
    } finally {
      C.fetching = false;
    }
    drawSheet();
    if (C.wanted !== C.seen) fetchPage();
  }

  const turn = (by) => {
    C.offset = Math.max(0, C.offset + by);
    fetchPage();
  };

  function drawSheet() {
    const rows = C.page?.rows || [];
    block(sheet, [rows, C.error], () => (C.error ? h("p", { class: "trouble" }, C.error) : rows.map((row) => h("figure", { class: row.status === "ok" || row.status === "unlabelled" ? "" : "off", title: row.reason || row.source || "" },
      h("img", { src: thumbnail(row.sha256), alt: title, loading: "lazy", decoding: "async", width: 160, height: 160 }),
      row.status === "ok" || row.status === "unlabelled" ? null : h("figcaption", {}, row.status === "dropped" ? "dropped" : "not used")))));
    const total = C.page?.total || 0, end = Math.min(total, C.offset + rows.length);
    block(pager, [C.offset, total, end], () => (total > MANY ? [
      h("button", { type: "button", "data-focus": "earlier", "aria-label": `Earlier photos of ${title}`, "aria-disabled": String(C.offset === 0), onclick: () => C.offset && turn(-MANY) }, "‹"),
      h("span", { class: "soft small" }, `${number(C.offset + 1)} to ${number(end)} of ${number(total)}`),
      h("button", { type: "button", "data-focus": "later", "aria-label": `Later photos of ${title}`, "aria-disabled": String(end >= total), onclick: () => end < total && turn(MANY) }, "›")] : []));
  }

  function drawRefused() {
    const bad = ofClass(label).filter((entry) => entry.state === "refused"), known = ofClass(label).filter((entry) => entry.state === "known");
    const others = C.others || [];
    block(refused, [bad.map((entry) => entry.id), known.length, others], () => (bad.length || known.length || others.length ? [
      h("p", {}, [bad.length ? `${plural(bad.length, "file")} could not be used.` : "", known.length ? `${plural(known.length, "file")} ${known.length === 1 ? "was" : "were"} here already.` : "",
        others.length ? `${plural(others.length, "file")} ${others.length === 1 ? "is" : "are"} no photo by ${others.length === 1 ? "its" : "their"} name: ${list(others.slice(0, 3))}${others.length > 3 ? " ..." : ""}.` : ""].filter(Boolean).join(" ")),
      bad.length ? h("details", { open: bad.length <= 5 }, h("summary", {}, "Which, and why"), h("ul", {}, ...bad.slice(0, NAMED).map((entry) => h("li", {}, h("strong", {}, entry.name), ` ${entry.message}`)),
        bad.length > NAMED ? h("li", {}, `and ${bad.length - NAMED} more`) : null)) : null,
      h("button", { type: "button", class: "quiet", "aria-label": `Close the list of refused files of ${title}`, onclick: () => { C.others = []; forgetRefused(label); } }, "Close the list")] : []));
  }

  function drawWaiting() {
    const here = ofClass(label).filter((entry) => ["waiting", "sending", "stored", "failed"].includes(entry.state));
    const shown = here.slice(-WAITING), more = here.length - shown.length;
    const words = { waiting: "waits", sending: "on its way", stored: "received", failed: "not sent" };
    block(waiting, [shown.map((entry) => [entry.id, entry.state]), more], () => [...shown.map((entry) => h("figure", { class: entry.state }, h("img", { src: pictureOf(entry), alt: entry.name, decoding: "async" }), h("figcaption", {}, words[entry.state]))),
      more ? h("p", { class: "soft small" }, `and ${more} more`) : null]);
  }

  new IntersectionObserver(([seen]) => {
    C.near = seen.isIntersecting;
    if (C.near && C.wanted !== C.seen) fetchPage();
  }, { rootMargin: "600px" }).observe(node);

  return { node, label, update(state) {
    const row = label ? state.photos.by_class[label] || {} : { usable: state.photos.unlabelled };
    const n = row.usable || 0;
    block(head, [row, state.photos.by_source?.[label]], () => [h("h2", {}, title), h("p", { class: "count" }, h("b", {}, number(n)), n === 1 ? " photo" : " photos"),
      h("p", { class: "soft small" }, label ? [uses(row), sources(state.photos.by_source?.[label]), row.waiting ? `${photos(row.waiting)} ${row.waiting === 1 ? "is" : "are"} being looked through.` : ""].filter(Boolean).join(" ") || "A hundred or more teach well; see the remarks above for how many are needed."
        : "The first model proposes a class for each; you confirm it in the step Clean. Until then nothing is learned from them.")]);
    C.wanted = JSON.stringify(row);
    if (C.wanted !== C.seen) fetchPage();
    else if (!state.photos.uploads_waiting) takenIn();
    drawWaiting();
    drawRefused();
    drawSheet();
  } };
}
