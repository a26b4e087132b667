// Decisions that are not stored yet. They are kept in localStorage until the server has them.
import { $, h, keyed, photoUrl, toast } from "./dom.js";
import { anew, load, refresh } from "./queue.js";
import { ask } from "./server.js";
import { S, draw, filters, rowOf, tell } from "./state.js";

const outbox = new Map(); // request id -> what was decided and is not stored yet

const box = () => `bears-review:${S.project.name}:`;
const keep = (entry) => {
  outbox.set(entry.request, entry);
  localStorage.setItem(box() + entry.request, JSON.stringify(entry));
};
export const forget = (entry) => {
  outbox.delete(entry.request);
  localStorage.removeItem(box() + entry.request);
};
const mark = (entry) => entry.items.forEach((item) => {
  const r = rowOf(item.sha256);
  if (r) r.pending = item;
});
export const unmark = (entry) => entry.items.forEach((item) => {
  const r = rowOf(item.sha256);
  if (r && r.pending === item) r.pending = null;
});
export const markAll = () => outbox.forEach(mark);
export const lastWaiting = () => [...outbox.values()].filter((e) => e.state === "waiting").at(-1);
export const firstConflict = () => [...outbox.values()].find((e) => e.state === "conflict");
export const isEmpty = () => !outbox.size;

/** Keep a decision and send it. */
export function put(entry) {
  keep(entry);
  mark(entry);
  drain();
}

/** What an earlier page kept. */
export function takeUp() {
  const left = Object.keys(localStorage).filter((key) => key.startsWith(box()))
    .map((key) => JSON.parse(localStorage.getItem(key))).sort((a, b) => a.at - b.at);
  left.forEach((entry) => outbox.set(entry.request, entry));
}

let draining = null;

/** Send what waits, one at a time and in order, so that what is stored is what was pressed. */
export function drain() {
  draining = draining || (async () => {
    for (;;) {
      const entry = [...outbox.values()].find((e) => e.state === "waiting");
      if (!entry) break;
      if (!(await send(entry))) break;
    }
  })().finally(() => { draining = null; drawOutbox(); });
  return draining;
}
export const drained = () => draining;

let retry = 0;
async function send(entry) {
  clearTimeout(retry);
  entry.tried += 1;
  keep(entry);
  try {
    const { request, overwrite, items, test_side } = entry;
    const answer = await ask(`api/decide?${filters()}`, { request, overwrite, items, test_side });
    forget(entry);
    stored(answer, `Stored: ${entry.done}`);
    return true;
  } catch (error) {
    entry.sentence = error.message;
    if (!error.again) entry.state = error.code === "CONFLICT" ? "conflict" : "refused";
    keep(entry);
    toast(`Not stored yet: ${entry.words}`);
    if (error.again) retry = setTimeout(drain, 4000);
    return !error.again;
  }
}

/** The server has stored or undone something: answer is what it says of it. */
export function stored(answer, words) {
  refresh(answer.rows);
  markAll();
  S.progress = answer.progress;
  S.project.labels = answer.labels;
  toast(words);
  tell("stored", answer.rows);
  anew();
}

export function overwrite(entry) {
  Object.assign(entry, { state: "waiting", overwrite: true });
  keep(entry);
  drain();
}

async function takeStored(entry) { // the other window's decision stands; look at it
  forget(entry);
  unmark(entry);
  S.filter.state = "all";
  await load(entry.items[0].sha256);
  draw();
}

export function drawOutbox() {
  const shown = [...outbox.values()].filter((e) => e.state !== "waiting" || e.sentence);
  $("outbox").hidden = !shown.length;
  $("outbox").replaceChildren(
    h("div", { class: "head" }, h("h2", {}, `Not stored yet (${shown.length})`), h("button", { onclick: drain }, "Try again")),
    h("ul", {}, ...shown.map((e) => h("li", { "data-state": e.state },
      h("img", { src: photoUrl(e.items[0].sha256, 160), alt: "" }),
      h("p", {}, h("b", {}, e.words), ". ", e.sentence),
      ...(e.state === "conflict" ? [keyed("o", "Overwrite", { onclick: (event) => { event.stopPropagation(); overwrite(e); } }),
        h("button", { onclick: () => takeStored(e) }, "Reload what is stored")]
        : [h("button", { onclick: () => { forget(e); unmark(e); draw(); } }, "Discard")])))));
}

window.addEventListener("storage", (event) => { // the other window has stored or discarded it
  if (!S.project || !event.key?.startsWith(box()) || event.newValue) return;
  const entry = outbox.get(event.key.slice(box().length));
  if (!entry) return;
  outbox.delete(entry.request);
  unmark(entry);
  drawOutbox();
});
