// The photos, and asking about them: two at a time, patient while a server is busy.
import { Trouble, megabytes } from "./page_parts.js";
import { engine, isHere } from "./page_engine.js";

const AT_ONCE = 2;
const TURNS = 4; // times that a busy server is asked again before a person has to

export const S = { about: null, model: null, items: [], open: null, stopped: false };
const changes = new EventTarget();
const running = new Map(); // photo -> what stops its request

export const onChange = (act) => changes.addEventListener("item", (event) => act(event.detail));
const changed = (item) => changes.dispatchEvent(new CustomEvent("item", { detail: item }));

export const askModels = () => engine.models();
export const aboutModels = async () => S.about ?? askModels();

function fits(file) {
  const most = S.about?.limits.bytes;
  if (!most || file.size <= most) return;
  throw new Trouble("TOO_LARGE", `This file has ${megabytes(file.size)}, and this ${isHere() ? "page" : "server"} takes at most ${megabytes(most)}. `
    + "Save a smaller copy, for example as JPEG.");
}

/** Wait for a busy server; a person may cut it short (item.hurry) or end it (the signal). */
function pause(item, trouble, signal) {
  return new Promise((done, fail) => {
    const ready = setTimeout(() => item.hurry(), 1000 * trouble.wait);
    item.hurry = () => { clearTimeout(ready); done(); };
    signal.addEventListener("abort", () => { clearTimeout(ready); fail(trouble); });
    Object.assign(item, { state: "pausing", trouble, until: Date.now() + 1000 * trouble.wait });
    changed(item);
  });
}

async function patiently(item, signal) {
  for (let turn = 0; ; turn += 1) {
    Object.assign(item, { state: "asking", sent: 0 });
    changed(item);
    try {
      fits(item.file);
      return await engine.classify(item.file, S.model?.name, signal, (share) => {
        item.sent = share;
        changed(item);
      });
    } catch (trouble) {
      if (!trouble.wait || turn >= TURNS || signal.aborted) throw trouble;
      await pause(item, trouble, signal);
    }
  }
}

async function run(item) {
  const stop = new AbortController();
  running.set(item, stop);
  try {
    item.answer = await patiently(item, stop.signal);
    Object.assign(item, { state: "answered", trouble: null });
  } catch (trouble) {
    const { aborted, reason } = stop.signal;
    if (aborted && reason === "wait") Object.assign(item, { state: "waiting", trouble: null });
    else Object.assign(item, { state: "failed", trouble: reason instanceof Trouble ? reason : trouble });
  }
  if (running.get(item) === stop) running.delete(item);
  changed(item);
  pump();
}

/** Ask about what still waits: first the photo that is looked at, then from the top. */
function pump() {
  while (!S.stopped && running.size < AT_ONCE) {
    const waits = (item) => item?.state === "waiting" && !running.has(item) && S.items.includes(item);
    const next = waits(S.open) ? S.open : S.items.find(waits);
    if (!next) return;
    run(next);
  }
}

export function start() {
  S.stopped = false;
  pump();
}

export function stop() {
  S.stopped = true;
  running.forEach((one) => one.abort("wait"));
}

/** Answers come from elsewhere from now on: what is being asked is asked there. */
export function askElsewhere() {
  running.forEach((one) => one.abort("wait"));
}

/** Photos that wait, or were refused for this cause, are asked about no more before a person says so. */
export function failWaiting(cause, trouble) {
  for (const item of S.items.filter((one) => one.state === "waiting" || one.trouble === cause)) {
    Object.assign(item, { state: "failed", trouble });
    changed(item);
  }
  running.forEach((one) => one.abort(trouble));
}

/** Ask about this photo though the list is stopped. */
export function askNow(item) {
  if (item.state === "waiting" && !running.has(item)) run(item);
}

export function giveUp(item) {
  running.get(item)?.abort("person");
}

export function askAgain(items) {
  items.forEach((item) => Object.assign(item, { state: "waiting", trouble: null }));
  items.forEach(changed);
  start();
}

/** Another model was chosen, so no answer counts any more. */
export function askAllAgain() {
  stop();
  S.items.forEach((item) => Object.assign(item, { answer: null, why: null, correction: null }));
  setTimeout(() => askAgain(S.items)); // after what was stopped has ended
}

let known = 0;
export function add(files) {
  const items = files.map((file) => ({ id: (known += 1), file, name: file.name || "photo", state: "waiting",
    answer: null, trouble: null, why: null, correction: null, sent: 0, hurry() {} }));
  S.items.push(...items);
  return items;
}

export async function explain(item) {
  const { model } = S;
  const answer = await engine.explain(item.file, model?.name);
  if (S.model === model) item.why = { maps: answer.maps || [], photo: answer.photo, similar: answer.similar || [] };
}

export const correct = (item, right) =>
  engine.correct(item.file, S.model?.name, item.answer.accepted ? item.answer.label : "", right);
