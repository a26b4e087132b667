// More like this: a photo and the ones most like it, of all classes, in a grid.
import { $, h, keyed, percent } from "../dom.js";
import { labelButtons } from "../frame.js";
import { ask } from "../server.js";
import { chooseAll, chosenRows, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, adopt, draw, drawMarks, setView } from "../state.js";
import { showError, showLoading } from "./loading.js";

const MANY = 60; // photos at first, and how many more at a time
const V = { of: "", rows: null, likeness: [], limit: MANY, error: null, back: [] };

async function fetchRows() {
  const { of, limit } = V;
  try {
    const answer = await ask(`api/alike/${of}?limit=${limit}`);
    if (of !== V.of || limit !== V.limit) return;
    Object.assign(V, { rows: adopt(answer.rows), likeness: answer.likeness, error: null });
  } catch (error) {
    V.error = error;
  }
  if (S.view === "alike") draw();
}

function leave() { // to the photo before, or to the view that it was opened from
  const [name, at] = V.back.pop() || ["one", ""];
  if (name !== "alike") setView(name, at);
  else begin(at);
}

function begin(sha) {
  Object.assign(V, { of: sha, rows: null, limit: MANY, error: null });
  S.chosen.clear();
  S.cursor = 0;
  draw();
  fetchRows();
}

/** Open this view about a photo. */
export function openAlike(sha) {
  if (!sha) return;
  V.back.push(S.view === "alike" ? ["alike", V.of] : [S.view, ""]);
  if (S.view === "alike") begin(sha);
  else setView("alike", sha);
}

export const alike = {
  name: "alike",
  marks: sheetMarks,
  arrow: sheetArrow,
  stored: drawMarks,
  place: () => V.of,
  here: () => V.rows?.[S.cursor]?.sha256,
  none: () => V.rows ? "Select photos first: arrows and space, a click, or a for all" : "",
  subjects: () => (V.rows ? chosenRows() : []),
  enter(before, at) {
    Object.assign(V, { of: at || S.rows[S.at]?.sha256 || "", rows: null, limit: MANY, error: null });
    fetchRows();
  },
  draw() {
    if (V.error) { showError(V.error, () => begin(V.of)); return; }
    if (!V.rows) { showLoading("Looking for photos like this one"); return; }
    const near = new Map(V.rows.map((r, n) => [r.sha256, V.likeness[n]]));
    const photos = sheet(V.rows, {
      small: true, open: (n) => openAlike(V.rows[n].sha256),
      about: (r) => (r.sha256 === V.of ? `the photo itself, labelled ${r.label}`
        : `photo labelled ${r.label}, likeness ${percent(near.get(r.sha256))}`) });
    photos.firstChild.classList.add("itself");
    const [first, ...others] = V.rows;
    $("main").replaceChildren(h("div", { class: "grid" },
      h("div", { class: "head" }, h("h2", {}, "More like this"), keyed("p", "Back")),
      h("p", { class: "soft small", id: "range" }, `The photo labelled ${first.label}, then ${others.length} most like it, of all classes`),
      photos));
    sheetMarks();
  },
  decided() {
    S.chosen.clear();
    drawMarks();
  },
  go(steps) {
    if (steps < 0) leave();
    else if (V.rows && V.rows.length > V.limit) { V.limit += MANY; fetchRows(); }
  },
  escape() {
    if (S.chosen.size) return false;
    leave();
    return true;
  },
  pressed(key) {
    if (key === "a" && V.rows) chooseAll();
    return key === "a";
  },
  buttons() {
    const n = S.chosen.size, off = { disabled: !n };
    return [
      keyed("a", "All or none", { disabled: !V.rows }), keyed("k", n ? `Keep ${n}` : "Keep", { ...off, class: "main" }),
      keyed("d", n ? `Drop ${n}` : "Drop", off), ...labelButtons(off), keyed("r", "Restore", off),
      keyed("n", "More photos", { disabled: !V.rows || V.rows.length <= V.limit })];
  },
};
