// The photos of each class beside each other, and every way to add some.
import { h, plural } from "../parts.js";
import { block, doing, question } from "../blocks.js";
import { column } from "../column.js";
import { classesOf, filesChosen, filesDropped, folded, isZip, namesInZip, readable } from "../dropped.js";
import { drawNotes } from "../notes.js";
import { searchForm } from "../search.js";
import { ask, of, send } from "../requests.js";
import { S, address, lastOf } from "../store.js";
import { add, counts, giveUp, retry, why } from "../uploads.js";
import { list, number, photos as ofPhotos } from "../words.js";

let P = null; // the elements of the step

/** Add classes that are not there yet, if somebody wants them. Returns the labels that may be used. */
async function agreed(n) {
  const known = new Map(S.state.labels.map((label) => [folded(label), label])), fresh = [...n.keys()].filter((label) => label && !known.has(folded(label)));
  if (!fresh.length) return known;
  const parts = [...n].map(([label, many]) => `${many} ${label ? `of ${label}` : "in no class folder"}`);
  const chosen = await question("New classes?", [`Found ${list(parts)}.`, `${list(fresh)} ${fresh.length === 1 ? "is no class" : "are no classes"} of this project yet.`],
    [["all", `Add ${fresh.length === 1 ? fresh[0] : plural(fresh.length, "class").replace("classs", "classes")}`, "main"], ["known", "Only the classes that are there"]]);
  if (!chosen) return null;
  if (chosen === "all") {
    for (const label of fresh) {
      await ask(of(S.project, "classes"), { add: label });
      known.set(folded(label), label);
    }
  }
  return known;
}

const tally = (labels) => labels.reduce((n, label) => n.set(label, (n.get(label) || 0) + 1), new Map());

/** Files in class folders, or a zip file of such folders. */
async function split(files) {
  P.said.textContent = "";
  try {
    const zip = files.find(isZip), project = S.project;
    if (zip) {
      const paths = (await namesInZip(zip.file)).map((name) => name.split("/"));
      const known = await agreed(tally(classesOf(paths, S.state.labels)));
      if (!known) return;
      P.said.textContent = `Sending ${zip.file.name}`;
      await send(of(project, "zip"), zip.file, (share) => { P.said.textContent = `Sending ${zip.file.name}: ${Math.round(100 * share)}%`; });
      P.said.textContent = `${zip.file.name} was received. Its photos appear as they are taken in.`;
      return;
    }
    const { photos: found, others } = readable(files), labels = classesOf(found.map((one) => one.path), S.state.labels);
    const known = await agreed(tally(labels));
    if (!known) return;
    const target = (label) => (label === "" ? "" : known.get(folded(label)));
    for (const label of new Set(labels)) {
      const own = found.filter((_, n) => labels[n] === label);
      if (target(label) !== undefined) add(project, target(label), own.map((one) => ({ file: one.file, name: one.path.join("/") })));
    }
    const without = labels.filter((label) => !label).length;
    P.said.textContent = [without ? `${ofPhotos(without)} in no class folder ${without === 1 ? "comes" : "come"} in without a class.` : "", others.length ? `${plural(others.length, "other file")} left out.` : ""].filter(Boolean).join(" ");
  } catch (error) {
    P.said.textContent = error.message;
  }
}

function sending() {
  const n = counts();
  block(P.sending, [n, why()], () => {
    if (!n.left) return [];
    const words = n.paused ? `${plural(n.left, "file")} ${n.left === 1 ? "is" : "are"} not sent yet${why() ? `: ${why()}` : ". The studio does not answer; they are sent when it does."}`
      : `Sending: ${n.done} of ${plural(n.all, "file")}. Keep this tab open until all are received.`;
    return [h("p", {}, words), h("progress", { max: n.all, value: n.done, "aria-label": "Files received" }),
      n.paused ? h("div", { class: "tools" }, h("button", { type: "button", "data-focus": "retry", class: "main", onclick: retry }, "Send them now"), h("button", { type: "button", "data-focus": "give-up", onclick: giveUp }, "Leave them out")) : null];
  });
}

function refusals(state) {
  const rows = Object.entries(state.photos.refused || {}).sort((a, b) => b[1].n - a[1].n), all = rows.reduce((sum, [, row]) => sum + row.n, 0);
  block(P.refused, rows, () => (rows.length ? [h("details", {}, h("summary", {}, `${plural(all, "file")} ${all === 1 ? "was" : "were"} not taken: why`),
    h("table", {}, h("caption", { class: "heard" }, "Reasons"), h("tbody", {}, ...rows.map(([code, row]) => h("tr", {}, h("td", { class: "n" }, number(row.n)), h("td", {}, row.sentence || code))))))] : []));
}

const TAKE_IN = ["take-in", "take-in-zip", "take-in-unlabelled"];

/** What was received and is not in the dataset yet: what is at work on by itself, and what waits for
 * somebody. */
function received({ uploads_waiting: waits, uploads_left: left = 0 }, was) {
  const coming = waits - left, are = (n) => `${plural(n, "file")} ${n === 1 ? "is" : "are"} received`;
  return [coming ? `${are(coming)} and being looked through. ` : "",
    ...(left ? [`${are(left)} and not taken in${was?.error ? `: ${was.error.sentence}` : ""}. `.replace("..", "."),
      doing("Take them in", () => ask(of(S.project, "take-in"), {}))] : [])];
}

function summary(state) {
  const n = state.photos.usable, was = lastOf("take-in", "take-in-zip", "take-in-unlabelled");
  block(P.summary, [n, state.labels.length, state.photos.uploads_waiting, state.photos.uploads_left, was?.id, was?.state], () => [
    n ? `${ofPhotos(n)} of ${state.labels.length} classes that can be used. ` : "No photos yet. Add some of each class: from your files, from a camera, or by a search. ",
    ...received(state.photos, was)]);
}

function columns(state) {
  const labels = [...state.labels, ""], there = P.columns.map((one) => one.label);
  if (JSON.stringify(labels) !== JSON.stringify(there)) {
    const old = new Map(P.columns.map((one) => [one.label, one]));
    P.columns = labels.map((label) => old.get(label) || column(label, { split, search: P.search.of }));
    P.grid.replaceChildren(...P.columns.map((one) => one.node));
  }
  for (const one of P.columns) one.update(state);
}

export const photos = {
  build(root) {
    const input = (words, facts) => {
      const field = h("input", { type: "file", hidden: true, "aria-label": words, ...facts });
      field.addEventListener("change", () => { split(filesChosen(field)); field.value = ""; });
      return [h("button", { type: "button", onclick: () => field.click() }, words), field];
    };
    const part = (name, tag = "div") => h(tag, { class: name });
    P = { columns: [], summary: h("p", { class: "lede", role: "status" }), sending: part("sending-box"), notes: part("advice"), refused: part("reasons"), grid: part("columns"), search: searchForm(), said: h("p", { role: "status" }) };
    const zone = h("div", { class: "zone small" }, h("p", {}, "Several classes at once: drop a folder or a zip file that holds one folder for each class."),
      h("div", { class: "tools" }, ...input("Choose a folder", { webkitdirectory: true }), ...input("Choose a zip file", { accept: ".zip" })), P.said);
    for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
    zone.addEventListener("drop", async (event) => { event.preventDefault(); await split(await filesDropped(event.dataTransfer)); });
    root.replaceChildren(h("h1", {}, "Photos of each class"), P.summary, P.sending, P.notes, P.grid, P.refused,
      h("div", { class: "ways" }, zone, P.search.node),
      h("div", { class: "tools onward" }, h("a", { class: "button main", href: address(S.project, "learn") }, "On to learning")));
    this.update(S.state);
    const at = S.label && P.columns.find((one) => one.label === S.label);
    if (at) { at.node.scrollIntoView({ block: "center" }); at.node.focus({ preventScroll: true }); }
  },
  update(state) {
    summary(state);
    sending();
    drawNotes(P.notes, "photos");
    columns(state);
    refusals(state);
    P.search.update(state);
  },
};
