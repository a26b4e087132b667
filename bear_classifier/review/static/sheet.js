// Thumbnails of rows of which some can be chosen: by click, shift and click, dragging, or keys.
import { $, h, percent, photoUrl } from "./dom.js";
import { decisionOf, unconfirm } from "./decide.js";
import { S, drawMarks, rowOf } from "./state.js";

let shown = []; // the rows of the sheet on the page
let anchor = 0; // where a range begins
let facts = {}; // what the view said of the sheet
let painted = null; // while a mouse is dragged over thumbnails: { before, from, moved }

/** The sheet of these rows. about(r): what a picture shows, in words; open(n): what Enter and a
 * double click do; small: more of them in a line; text(r): below a photo that nobody decided on;
 * plain: a click opens, and chooses only with shift or control. */
export function sheet(rows, { about, open, small = false, text = suspicion, plain = false }) {
  shown = rows;
  facts = { open, text, plain };
  anchor = S.cursor = Math.max(0, Math.min(S.cursor, rows.length - 1));
  painted = null;
  return h("div", { class: `sheet${small ? " small" : ""}`, role: "group", "aria-label": "Photos" },
    ...rows.map((r, n) => {
      const thumb = h("button", { class: "thumb", "data-sha": r.sha256, "aria-pressed": "false", tabindex: n === S.cursor ? 0 : -1, title: (r.reasons || []).join("; "),
        onclick: (event) => clicked(n, event), onfocus: () => { S.cursor = n; }, ondblclick: () => open(n),
        onpointerdown: (event) => { if (event.pointerType === "mouse" && !event.button && !event.shiftKey) painted = { before: new Set(S.chosen), from: n, moved: false }; },
        onpointerenter: (event) => { if (event.buttons & 1) paint(n); else painted = null; } },
        h("img", { src: photoUrl(r.sha256, 400), alt: about(r), loading: "lazy", draggable: "false" }), h("b"), h("small"));
      thumb.addEventListener("keydown", (event) => {
        if (event.key === "Enter") { event.preventDefault(); event.stopPropagation(); open(n); }
      });
      return thumb;
    }));
}

const suspicion = (r) => `${percent(r.score)} · ${r.reasons[0] || r.kind}`;
const range = (from, to) => shown.slice(Math.min(from, to), Math.max(from, to) + 1).map((r) => r.sha256);

function clicked(n, event) {
  const dragged = painted?.moved;
  painted = null;
  if (dragged) return;
  if (facts.plain && event.detail && !event.shiftKey && !event.ctrlKey && !event.metaKey) { facts.open(n); return; }
  const sha = shown[n].sha256;
  if (event.shiftKey) range(anchor, n).forEach((one) => S.chosen.add(one));
  else {
    if (!S.chosen.delete(sha)) S.chosen.add(sha);
    anchor = n;
  }
  moveTo(n);
  unconfirm();
  drawMarks();
}

function paint(n) { // what lies between is chosen, or no longer if the first one was chosen
  if (!painted || (n === painted.from && !painted.moved)) return;
  painted.moved = true;
  S.chosen = new Set(painted.before);
  const away = painted.before.has(shown[painted.from].sha256);
  range(painted.from, n).forEach((sha) => (away ? S.chosen.delete(sha) : S.chosen.add(sha)));
  anchor = S.cursor = n;
  unconfirm();
  drawMarks();
}

const thumbs = () => [...document.querySelectorAll(".thumb")];

function moveTo(n) {
  S.cursor = n;
  thumbs().forEach((t, i) => { t.tabIndex = i === n ? 0 : -1; });
}

/** Move by an arrow key; with shift, what is passed is chosen. */
export function sheetArrow(key, event) {
  const all = thumbs();
  if (!all.length) return false;
  const columns = all.filter((t) => t.offsetTop === all[0].offsetTop).length;
  const from = S.cursor, to = from + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  if (to < 0 || to >= all.length) return true;
  moveTo(to);
  all[to].focus();
  if (event?.shiftKey) {
    range(from, to).forEach((sha) => S.chosen.add(sha));
    unconfirm();
    drawMarks();
  } else anchor = to;
  return true;
}

/** All of the sheet are chosen, or none if they were. */
export function chooseAll() {
  const all = shown.every((r) => S.chosen.has(r.sha256));
  S.chosen = new Set(all ? [] : shown.map((r) => r.sha256));
  unconfirm();
  drawMarks();
}

export const chosenRows = () => shown.filter((r) => S.chosen.has(r.sha256));
export const isOpen = (r) => !r.pending && !r.decision && r.status === "ok";

/** Draw anew what was chosen and decided. */
export function sheetMarks() {
  for (const thumb of thumbs()) {
    const r = rowOf(thumb.dataset.sha);
    const [, title, small] = thumb.children;
    const done = decisionOf(r);
    thumb.setAttribute("aria-pressed", S.chosen.has(r.sha256));
    thumb.classList.toggle("decided", Boolean(done));
    const guess = r.suggested && r.suggested !== r.label && !done ? [...(r.label ? [" → "] : []), h("span", { class: "to" }, `${r.suggested}?`)] : [];
    title.replaceChildren(r.label || (guess.length ? "" : "no label"), ...guess);
    small.textContent = done || facts.text(r);
    thumb.querySelector(".badge")?.remove();
    if (r.split === "test") thumb.append(h("span", { class: "badge test" }, "test"));
  }
  const n = S.chosen.size;
  if ($("range")) $("range").textContent = $("range").textContent.split(";")[0] + (n ? `; ${n} selected` : "");
}
