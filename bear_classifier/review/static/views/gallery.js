// The gallery: everything that was downloaded, by class and source, with or without a first model.
import { $, h, heard, keyed, photoUrl } from "../dom.js";
import { decisionOf } from "../decide.js";
import { labelButtons } from "../frame.js";
import { ask } from "../server.js";
import { chooseAll, chosenRows, isOpen, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, adopt, draw, drawMarks } from "../state.js";
import { showError, showLoading } from "./loading.js";

const MANY = 60; // photos a page
const V = { label: "", source: "", use: "all", offset: 0, page: null, rows: [], large: -1, error: null };

async function fetchPage(offset = 0, large = -1) {
  const { label, source, use } = V;
  const query = new URLSearchParams({ label, source, use, offset, limit: MANY });
  try {
    const page = await ask(`api/gallery?${query}`);
    if (label !== V.label || source !== V.source || use !== V.use) return;
    Object.assign(V, { page, rows: adopt(page.rows), offset, error: null });
    V.large = large < 0 ? -1 : Math.min(large, V.rows.length - 1);
    S.chosen.clear();
    S.cursor = Math.max(0, V.large);
  } catch (error) {
    V.error = error;
  }
  if (S.view === "gallery") draw();
}

/** Choices of a list, each with its number. */
function choices(name, words, rows, change) {
  const options = rows.map(([value, n, shown]) =>
    h("option", { value, selected: value === V[name] }, `${shown || value} (${n})`));
  return h("label", {}, `${words} `, h("select", { "data-name": name, onchange: (event) => {
    V[name] = event.target.value;
    fetchPage();
    change?.();
  } }, ...options));
}

function drawPage() {
  const { page, rows } = V;
  const labels = [["", page.any_label, "Any"], ...S.project.labels.map((label) => [label, page.labels[label] || 0])];
  const sources = [["", page.any_source, "Any"], ...page.sources];
  const uses = S.project.uses.map((use) => [use, page.uses[use] || 0]);
  const photos = sheet(rows, { small: true, plain: true, open: enlarge, text: (r) => (r.source === r.label ? "" : r.source || ""),
    about: (r) => `${r.label ? `photo labelled ${r.label}` : "photo without a label"} from ${r.source}` });
  const last = page.offset + rows.length;
  $("main").replaceChildren(h("div", { class: "grid" },
    h("h2", {}, "All photos"),
    h("div", { class: "choices" }, choices("label", "Class", labels), choices("source", "Source", sources), choices("use", "Use", uses)),
    h("p", { class: "soft small", id: "range" }, rows.length ? `${page.offset + 1} to ${last} of ${page.total}` : "No photo fits"),
    photos));
  sheetMarks();
}

function drawLarge() {
  const r = V.rows[V.large];
  const about = r.label ? `photo labelled ${r.label}` : "photo without a label";
  const facts = [`${V.page.offset + V.large + 1} of ${V.page.total}`, r.label || "no label yet",
    decisionOf(r)];
  $("main").replaceChildren(h("div", { class: "large", "data-sha": r.sha256 },
    h("figure", {}, h("img", { src: photoUrl(r.sha256, 1000), alt: about, onclick: shrink })),
    h("div", { class: "facts" },
      h("p", {}, ...facts.filter(Boolean).map((fact) => h("span", { class: "badge" }, fact)),
        r.split === "test" && h("span", { class: "badge test" }, "test split")),
      h("p", { class: "origin" }, `${r.width} × ${r.height}, from ${r.source}. ${r.origin}`, r.reason && ` (${r.reason})`),
      h("div", { class: "head" },
        h("button", { onclick: shrink }, h("kbd", {}, "Esc"), heard("Back to "), h("span", {}, "All photos"))))));
}

function enlarge(n) {
  V.large = n;
  S.cursor = n;
  S.chosen.clear();
  draw();
}

function shrink() {
  S.cursor = Math.max(0, V.large);
  V.large = -1;
  draw();
  document.querySelectorAll(".thumb")[S.cursor]?.focus();
}

function go(steps) {
  if (!V.page) return;
  const by = V.large < 0 ? MANY : 1, at = V.offset + Math.max(0, V.large) + steps * by;
  if (at < 0 || at >= V.page.total) return;
  if (V.large >= 0 && at >= V.offset && at < V.offset + V.rows.length) enlarge(at - V.offset);
  else fetchPage(V.large < 0 ? at : Math.floor(at / MANY) * MANY, V.large < 0 ? -1 : at % MANY);
}

export const gallery = {
  name: "gallery",
  key: "e",
  title: "All photos",
  marks: () => { if (V.large < 0) sheetMarks(); },
  stored() {
    if (V.large >= 0) draw();
    else drawMarks();
  },
  here: () => V.rows[V.large < 0 ? S.cursor : V.large]?.sha256,
  none: () => "Select photos first: arrows and space, shift and a click, or a for all",
  subjects(action) {
    if (V.large >= 0) return [V.rows[V.large]];
    if (S.chosen.size) return chosenRows();
    return action === "keep" ? V.rows.filter(isOpen) : [];
  },
  enter() {
    V.page = null;
    fetchPage(V.offset);
  },
  draw() {
    if (V.error) showError(V.error, () => fetchPage(V.offset));
    else if (!V.page) showLoading("Fetching the photos");
    else if (V.large >= 0) drawLarge();
    else drawPage();
  },
  decided(action) {
    const swept = action === "keep" && V.large < 0 && !S.chosen.size;
    S.chosen.clear();
    if (swept || V.large >= 0) go(1);
    else draw();
  },
  async undone(rows) {
    const back = V.rows.findIndex((r) => rows.some((fresh) => fresh.sha256 === r.sha256));
    if (back >= 0 && V.large >= 0) V.large = back;
  },
  go,
  arrow(key, event) {
    const forward = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (V.large < 0) return sheetArrow(key, event);
    if (forward) go(forward);
    return Boolean(forward);
  },
  escape() {
    if (V.large < 0) return false;
    shrink();
    return true;
  },
  pressed(key) {
    if (key === "a" && V.large < 0 && V.page) chooseAll();
    if (key === "Enter" && V.large >= 0) shrink();
    else if (key === "Enter" && V.rows.length) enlarge(S.cursor);
    return key === "a" || key === "Enter";
  },
  buttons() {
    const n = S.chosen.size, one = V.large >= 0, off = { disabled: !V.page || !(one || n) };
    const what = one ? "photo" : "page", many = n ? ` ${n}` : "";
    return [
      keyed("p", "Back", { title: `Previous ${what}` }),
      keyed("k", one || n ? `Keep${many}` : "Keep all shown", { disabled: !V.page, class: "main" }),
      keyed("d", `Drop${many}`, off), ...labelButtons(off), keyed("r", "Restore", off),
      keyed("n", "Next", { title: `Next ${what}` })];
  },
};
