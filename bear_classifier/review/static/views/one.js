// One photo beside the ones most like it, with the reasons in words.
import { $, h, keyed, percent, photoUrl, when } from "../dom.js";
import { decisionOf, unconfirm } from "../decide.js";
import { labelButtons } from "../frame.js";
import { full, load, looked, walk, walked } from "../queue.js";
import { ask } from "../server.js";
import { S, draw, row } from "../state.js";
import { ended } from "./ended.js";

async function go(steps) {
  const to = await walk(steps, S.at, 1);
  if (to === null) return;
  S.at = to;
  walked();
}

let drawing = 0;
async function drawOne() {
  const r = row(), turn = (drawing += 1);
  if (!r) { $("main").replaceChildren(ended()); return; }
  looked(S.at);
  const about = `photo labelled ${r.label}, suspect ${r.place} of ${S.of}`;
  const image = h("img", { src: photoUrl(r.sha256, 1000), alt: about });
  const figure = h("figure", {}, image, h("div", { class: "badges" },
    h("span", { class: "badge" }, `${r.place} of ${S.of}`),
    r.split === "test" && h("span", { class: "badge test" }, "Test split", h("span", { class: "wide" }, ": changes what the model is judged by")),
    decisionOf(r) && h("span", { class: "badge set" }, decisionOf(r))));
  image.addEventListener("error", async () => {
    const why = await ask(photoUrl(r.sha256, 1000)).catch((error) => error);
    image.replaceWith(h("div", { class: "unseen", role: "img", "aria-label": about }, `This photo cannot be shown: ${why.message}`));
  });
  const differs = r.suggested && r.suggested !== r.label;
  const side = h("aside", { "aria-label": "About this photo", tabindex: "0" },
    h("div", {}, h("h2", {}, `Label now · probability of a fault ${percent(r.score)}`),
      h("p", { class: "now" }, r.label, ...(differs ? [h("span", { class: "no" }, " → "), h("span", { class: "to" }, `${r.suggested}?`)] : [])),
      h("ul", { class: "reasons" }, ...r.reasons.map((reason) => h("li", {}, reason)))));
  $("main").replaceChildren(h("div", { class: "one", "data-sha": r.sha256 }, figure, side));
  preload();
  try {
    const all = await full(r);
    if (turn !== drawing || S.view !== "one") return;
    if (!r.pending && all.based > r.based && (all.label !== r.label || all.status !== r.status)) {
      Object.assign(r, all, { place: r.place }); // another window's decision: show it
      draw();
      return;
    }
    side.append(...details(r, all));
    side.parentNode.dataset.ready = "1";
  } catch (error) {
    if (turn === drawing) side.append(h("p", { class: "soft" }, error.message));
  }
}

function details(r, all) {
  const bars = Object.entries(all.probabilities).sort((a, b) => b[1] - a[1]).map(([label, p]) => {
    const bar = h("div");
    bar.style.width = `${100 * p}%`;
    return h("div", { class: "prob" }, h("span", { class: label === r.label ? "mine" : "", title: label }, label),
      h("div", { class: "rail", "aria-hidden": "true" }, bar), h("span", {}, percent(p)));
  });
  const near = all.neighbours.map((n) => h("figure", { class: n.label === r.label ? "" : "differs" },
    h("img", { src: photoUrl(n.sha256, 160), alt: `similar photo labelled ${n.label}`, loading: "lazy" }),
    h("figcaption", { title: n.label }, n.label)));
  const past = all.history.map((e) => h("li", {},
    `${when(e.at)} ${e.action}${e.old !== e.new ? `: ${e.old} → ${e.new}` : ""}, ${e.who}`));
  return [
    bars.length && h("div", {}, h("h2", {}, "The first model, which did not learn from it"), ...bars),
    h("div", {}, h("div", { class: "head" }, h("h2", {}, "Most similar photos"), keyed("l", "More like this")),
      h("div", { class: "near" }, ...near)),
    past.length && h("div", {}, h("h2", {}, "History"), h("ul", { class: "past" }, ...past)),
    h("p", { class: "origin" }, `${all.width} × ${all.height}, ${all.split || "no"} split. ${all.origin}`),
  ].filter(Boolean);
}

function preload() {
  for (const r of S.rows.slice(S.at + 1, S.at + 3)) {
    new Image().src = photoUrl(r.sha256, 1000);
    full(r).catch(() => {});
  }
}

export const one = {
  name: "one",
  draw: drawOne,
  go,
  place: () => row()?.sha256,
  subjects: () => (row() ? [row()] : []),
  here: () => row()?.sha256,
  decided: () => go(1),
  ahead: preload,
  stored: (rows) => { if (row() && rows.some((r) => r.sha256 === row().sha256)) draw(); },
  async undone(rows) {
    const back = S.rows.findIndex((r) => rows.some((fresh) => fresh.sha256 === r.sha256));
    if (back >= 0) S.at = back;
    else if (rows.length) await load(rows[0].sha256);
  },
  arrow(key) {
    const forward = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (forward) { unconfirm(); go(forward); }
    return Boolean(forward);
  },
  enter(before) {
    if (before?.name === "grid") S.at = Math.min(S.first + S.cursor, S.rows.length);
  },
  buttons() {
    const off = { disabled: !row() };
    return [
      keyed("p", "Back", { title: "Previous photo" }), keyed("k", "Keep", { ...off, class: "main" }),
      keyed("d", "Drop", off), ...labelButtons(off),
      ...(row()?.status === "dropped" ? [keyed("r", "Restore")] : []),
      keyed("n", "Next", { ...off, title: "Next photo" })];
  },
};
