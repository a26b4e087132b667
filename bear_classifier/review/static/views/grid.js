// A page of the queue as thumbnails, to go through quickly.
import { $, h, keyed, percent, photoUrl } from "../dom.js";
import { decisionOf, unconfirm } from "../decide.js";
import { labelButtons } from "../frame.js";
import { load, looked, walk, walked } from "../queue.js";
import { S, draw, drawMarks, rowOf, setView } from "../state.js";
import { ended } from "./ended.js";

const shown = () => S.rows.slice(S.first, S.first + S.many);

async function go(steps) {
  const to = await walk(steps, S.first, S.many);
  if (to === null) return;
  S.first = to;
  walked();
}

function drawGrid() {
  const rows = shown();
  if (!rows.length) { $("main").replaceChildren(ended()); return; }
  looked(S.first + rows.length - 1);
  S.cursor = Math.min(S.cursor, rows.length - 1);
  const sheet = h("div", { class: `sheet${S.many > 24 ? " small" : ""}`, role: "group", "aria-label": "Photos" },
    ...rows.map((r, n) => {
      const about = `photo labelled ${r.label}, suspect ${r.place} of ${S.of}`;
      const thumb = h("button", { class: "thumb", "data-sha": r.sha256, "aria-pressed": "false", tabindex: n === S.cursor ? 0 : -1, title: r.reasons.join("; "),
        onclick: () => toggle(r, n), onfocus: () => { S.cursor = n; }, ondblclick: () => { S.cursor = n; setView("one"); } },
        h("img", { src: photoUrl(r.sha256, 400), alt: about, loading: "lazy" }), h("b"), h("small"));
      thumb.addEventListener("keydown", (event) => {
        if (event.key === "Enter") { event.preventDefault(); event.stopPropagation(); S.cursor = n; setView("one"); }
      });
      return thumb;
    }));
  const range = `${rows[0].place} to ${rows.at(-1).place} of ${S.of}`;
  $("main").replaceChildren(h("div", { class: "grid" }, h("p", { class: "soft small", id: "range" }, range), sheet));
  marks();
}

function toggle(r, n) {
  if (!S.chosen.delete(r.sha256)) S.chosen.add(r.sha256);
  S.cursor = n;
  unconfirm();
  drawMarks();
}

function marks() {
  for (const thumb of document.querySelectorAll(".thumb")) {
    const r = rowOf(thumb.dataset.sha);
    const [, title, small] = thumb.children;
    const done = decisionOf(r);
    thumb.setAttribute("aria-pressed", S.chosen.has(r.sha256));
    thumb.classList.toggle("decided", Boolean(done));
    title.replaceChildren(r.label, ...(r.suggested && r.suggested !== r.label && !done ? [" → ", h("span", { class: "to" }, `${r.suggested}?`)] : []));
    small.textContent = done || `${percent(r.score)} · ${r.reasons[0] || r.kind}`;
    thumb.querySelector(".badge")?.remove();
    if (r.split === "test") thumb.append(h("span", { class: "badge test" }, "test"));
  }
  const n = S.chosen.size;
  if ($("range")) $("range").textContent = $("range").textContent.split(";")[0] + (n ? `; ${n} selected` : "");
}

function arrow(key) {
  const thumbs = [...document.querySelectorAll(".thumb")];
  if (!thumbs.length) return false;
  const columns = thumbs.filter((t) => t.offsetTop === thumbs[0].offsetTop).length;
  const to = S.cursor + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  if (to >= 0 && to < thumbs.length) {
    S.cursor = to;
    thumbs.forEach((t, n) => { t.tabIndex = n === to ? 0 : -1; });
    thumbs[to].focus();
  }
  return true;
}

export const grid = {
  name: "grid",
  draw: drawGrid,
  go,
  marks,
  arrow,
  place: () => S.rows[S.first]?.sha256,
  none: () => S.rows.length ? "Select photos first: arrows and space, or a click" : "",
  subjects(action) {
    if (S.chosen.size) return shown().filter((r) => S.chosen.has(r.sha256));
    return action === "keep" ? shown().filter((r) => !r.pending && !r.decision && r.status === "ok") : [];
  },
  decided(action) {
    const swept = action === "keep" && !S.chosen.size;
    S.chosen.clear();
    if (swept) go(1);
    else draw();
  },
  stored: drawMarks,
  async undone(rows) {
    const back = S.rows.findIndex((r) => rows.some((fresh) => fresh.sha256 === r.sha256));
    if (back < 0 && rows.length) await load(rows[0].sha256);
    else if (back >= 0 && (back < S.first || back >= S.first + S.many)) S.first = back;
  },
  pressed(key) {
    if (key !== "a") return false;
    const all = S.chosen.size === shown().length;
    S.chosen = new Set(all ? [] : shown().map((r) => r.sha256));
    drawMarks();
    return true;
  },
  enter() { S.first = S.at; S.cursor = 0; },
  buttons() {
    const n = S.chosen.size;
    return [
      keyed("p", "Back", { title: "Previous page" }), keyed("k", n ? `Keep ${n}` : "Keep all shown", { class: "main" }),
      keyed("d", n ? `Drop ${n}` : "Drop"), ...labelButtons({}), keyed("r", "Restore"),
      keyed("n", "Next", { title: "Next page" })];
  },
};
