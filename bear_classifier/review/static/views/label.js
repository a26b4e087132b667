// Photos without a label, the most useful first, by the class that is proposed: confirm or choose.
import { $, h, keyed, percent, plural } from "../dom.js";
import { labelButtons } from "../frame.js";
import { ask } from "../server.js";
import { chooseAll, chosenRows, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, adopt, draw, drawMarks } from "../state.js";
import { showError, showLoading } from "./loading.js";

const MANY = 24; // photos of a batch
const V = { batch: null, rows: [], error: null, asking: false };

const waits = (r) => r.status === "unlabelled" && !r.pending;

/** The next photos, as they teach most by what is confirmed now. */
async function fetchBatch() {
  V.asking = true;
  try {
    const batch = await ask(`api/label?limit=${MANY}`);
    const rank = (r) => (r.suggested ? S.project.labels.indexOf(r.suggested) : S.project.labels.length);
    const rows = adopt(batch.rows).sort((a, b) => rank(a) - rank(b));
    Object.assign(V, { batch, rows, error: null });
    S.chosen.clear();
    S.cursor = 0;
  } catch (error) {
    V.error = error;
  } finally {
    V.asking = false;
  }
  if (S.view === "label") draw();
}

function again() {
  Object.assign(V, { batch: null, error: null });
  draw();
  fetchBatch();
}

/** A heading in the sheet, before the first photo of each proposed class. */
function headings(photos) {
  let before = null;
  [...photos.children].forEach((thumb, n) => {
    const label = V.rows[n].suggested;
    if (label === before) return;
    before = label;
    const many = V.rows.filter((r) => r.suggested === label).length;
    photos.insertBefore(h("h3", {}, label ? `${label}? ` : "No class is proposed yet ", h("span", { class: "soft" }, plural(many, "photo"))), thumb);
  });
}

const counts = () => Object.entries(V.batch.confirmed).map(([label, n]) => `${label} ${n}`).join(", ");

function nothing() {
  const { left, why_none: why } = V.batch;
  const words = why || (left ? "No photo can be shown" : "Every photo has a label. Now run: bears run");
  $("main").replaceChildren(h("div", { class: "end" }, h("h2", {}, left ? "Photos without a label" : "Nothing is left to label"),
    h("p", { class: "soft" }, words), h("p", { class: "soft" }, `In use: ${counts()}`),
    h("button", { onclick: again }, "Look again")));
}

export const label = {
  name: "label",
  key: "t",
  title: "Label",
  hidden: () => !S.project.unlabelled,
  marks: sheetMarks,
  arrow: sheetArrow,
  here: () => V.rows[S.cursor]?.sha256,
  none: () => V.rows.some(waits) ? "Select photos first: arrows and space, a click, or a for all" : "Nothing is left here; n asks for the next photos",
  enter() {
    V.batch = null;
    fetchBatch();
  },
  draw() {
    if (V.error) { showError(V.error, again); return; }
    if (!V.batch) { showLoading("Choosing the photos that teach most"); return; }
    if (!V.rows.length) { nothing(); return; }
    const photos = sheet(V.rows, {
      small: true, about: (r) => (r.label ? `photo labelled ${r.label}` : `photo, ${r.suggested ? `probably ${r.suggested}` : "no class proposed"}`),
      open: (n) => window.open(`photo/${V.rows[n].sha256}?size=1000`, "_blank", "noopener"),
      text: (r) => (r.suggested && r.chances ? percent(r.chances[r.suggested]) : "") });
    headings(photos);
    $("main").replaceChildren(h("div", { class: "grid" },
      h("h2", {}, "Which class is it?"),
      h("p", { class: "soft small", id: "range" }, `${plural(V.batch.left, "photo")} without a label, the most useful first. In use: ${counts()}`),
      photos));
    sheetMarks();
  },
  subjects(action) {
    if (S.chosen.size) return chosenRows();
    return action === "keep" ? V.rows.filter((r) => waits(r) && r.suggested) : [];
  },
  decided() {
    S.chosen.clear();
    drawMarks();
  },
  stored() {
    drawMarks();
    if (!V.asking && V.batch && !V.rows.some((r) => r.status === "unlabelled")) fetchBatch();
  },
  async undone(rows) {
    if (!rows.some((fresh) => V.rows.some((r) => r.sha256 === fresh.sha256))) await fetchBatch();
  },
  go(steps) { if (steps > 0 && !V.asking) again(); },
  pressed(key) {
    if (key === "a" && V.batch) chooseAll();
    return key === "a";
  },
  buttons() {
    const n = S.chosen.size, off = { disabled: !n };
    const sure = V.rows.filter((r) => waits(r) && r.suggested).length;
    return [
      keyed("a", "All or none", { disabled: !V.rows.length }),
      keyed("k", n ? `Confirm ${n}` : `Confirm ${sure} as proposed`, { disabled: !(n || sure), class: "main" }),
      ...labelButtons(off), keyed("d", n ? `Drop ${n}` : "Drop", off),
      keyed("n", "Next photos", { disabled: V.asking })];
  },
};
