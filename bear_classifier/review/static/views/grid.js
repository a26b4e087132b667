// A page of the queue as thumbnails, to go through quickly.
import { $, h, keyed } from "../dom.js";
import { labelButtons } from "../frame.js";
import { load, looked, walk, walked } from "../queue.js";
import { chooseAll, chosenRows, isOpen, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, draw, drawMarks, setView } from "../state.js";
import { ended } from "./ended.js";

const shown = () => S.rows.slice(S.first, S.first + S.many);

async function go(steps) {
  const to = await walk(steps, S.first, S.many);
  if (to === null) return;
  S.first = to;
  walked();
}

export const grid = {
  name: "grid",
  go,
  marks: sheetMarks,
  arrow: sheetArrow,
  stored: drawMarks,
  place: () => S.rows[S.first]?.sha256,
  here: () => shown()[S.cursor]?.sha256,
  none: () => S.rows.length ? "Select photos first: arrows and space, or a click" : "",
  enter(before) { if (before) S.first = S.at; },
  draw() {
    const rows = shown();
    if (!rows.length) { $("main").replaceChildren(ended()); return; }
    looked(S.first + rows.length - 1);
    const photos = sheet(rows, {
      small: S.many > 24, about: (r) => `photo labelled ${r.label}, suspect ${r.place} of ${S.of}`,
      open: (n) => { S.cursor = n; setView("one"); } });
    $("main").replaceChildren(h("div", { class: "grid" },
      h("p", { class: "soft small", id: "range" }, `${rows[0].place} to ${rows.at(-1).place} of ${S.of}`), photos));
    sheetMarks();
  },
  subjects(action) {
    if (S.chosen.size) return chosenRows();
    return action === "keep" ? shown().filter(isOpen) : [];
  },
  decided(action) {
    const swept = action === "keep" && !S.chosen.size;
    S.chosen.clear();
    if (swept) go(1);
    else draw();
  },
  async undone(rows) {
    const back = S.rows.findIndex((r) => rows.some((fresh) => fresh.sha256 === r.sha256));
    if (back < 0 && rows.length) await load(rows[0].sha256);
    else if (back >= 0 && (back < S.first || back >= S.first + S.many)) S.first = back;
  },
  pressed(key) {
    if (key === "a") chooseAll();
    return key === "a";
  },
  buttons() {
    const n = S.chosen.size;
    return [
      keyed("p", "Back", { title: "Previous page" }), keyed("k", n ? `Keep ${n}` : "Keep all shown", { class: "main" }),
      keyed("d", n ? `Drop ${n}` : "Drop"), ...labelButtons({}), keyed("r", "Restore"),
      keyed("n", "Next", { title: "Next page" })];
  },
};
