// The photos, and asking the server about them: two at a time, patient while it is busy.
import { megabytes } from "./page_parts.js";

const AT_ONCE = 2;
const TURNS = 4; // times that a busy server is asked again before a person has to
const PATIENCE = 120000; // milliseconds until a request counts as lost
const LONGEST = 60; // seconds; a server may ask for more, but nobody watches that

export const S = { about: null, model: null, items: [], open: null, stopped: false };
const changes = new EventTarget();
const running = new Map(); // photo -> what stops its request

export const onChange = (act) => changes.addEventListener("item", (event) => act(event.detail));
const changed = (item) => changes.dispatchEvent(new CustomEvent("item", { detail: item }));

/** A failure as the server or this page words it; again: asking once more may help. */
export class Trouble extends Error {
  constructor(code, message, { request = "", wait = 0, again = false } = {}) {
    super(message);
    Object.assign(this, { code, request, wait, again });
  }
}

const GONE = "The server does not answer. Check the connection, then try again; the photo is still here.";
const LOST = "The file can no longer be read: it was moved, changed, or is a folder. Choose it again.";
const STATUS = { 413: "The file is larger than this server takes.", 429: "Too many photos at once.",
  503: "The server is busy." };

function failure(status, text, after) {
  let said = {};
  try { said = JSON.parse(text); } catch { /* a proxy's page: the number has to do */ }
  const message = said?.message || STATUS[status] || `The server could not answer (error ${status}).`;
  const busy = status === 429 || status === 503;
  const wait = busy ? Math.min(LONGEST, Math.max(1, Math.ceil(Number(after)) || 5)) : 0;
  return new Trouble(said?.code || `HTTP_${status}`, message,
    { request: said?.request_id || "", wait, again: busy || status >= 500 || status === 408 });
}

/** Send a file's bytes; sent(share) hears of the upload, and the signal stops it. */
function post(path, file, signal, sent = () => {}) {
  return new Promise((done, fail) => {
    const call = new XMLHttpRequest();
    call.open("POST", path);
    call.timeout = PATIENCE;
    call.setRequestHeader("Content-Type", "application/octet-stream");
    call.upload.addEventListener("progress", (event) => event.lengthComputable && sent(event.loaded / event.total));
    call.addEventListener("load", () => {
      if (call.status < 200 || call.status > 299) return fail(failure(call.status, call.responseText, call.getResponseHeader("Retry-After")));
      try { return done(JSON.parse(call.responseText)); } catch { return fail(failure(502, "", 0)); }
    });
    call.addEventListener("error", () => file.slice(0, 1).arrayBuffer().then(
      () => fail(new Trouble("OFFLINE", GONE, { again: true })), () => fail(new Trouble("FILE_LOST", LOST))));
    call.addEventListener("timeout", () => fail(new Trouble("TIMEOUT", "The server took too long to answer.", { again: true })));
    call.addEventListener("abort", () => fail(new Trouble("STOPPED", "Stopped.", { again: true })));
    signal?.addEventListener("abort", () => call.abort());
    call.send(file);
  });
}

export async function askModels() {
  let answer;
  try {
    answer = await fetch("api/v1/models", { signal: AbortSignal.timeout(20000) });
  } catch {
    throw new Trouble("OFFLINE", "The server does not answer. Check the connection, then try again.", { again: true });
  }
  if (!answer.ok) throw failure(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer.json();
}

const query = (facts) => new URLSearchParams({ ...(S.model && { model: S.model.name }), ...facts });

function fits(file) {
  const most = S.about?.limits.bytes;
  if (!most || file.size <= most) return;
  throw new Trouble("TOO_LARGE", `This file has ${megabytes(file.size)}, and this server takes at most ${megabytes(most)}. `
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

function complete(answer) {
  if (!answer.sentence || !answer.label || !answer.probabilities) throw failure(502, "", 0);
  return answer;
}

async function patiently(item, signal) {
  for (let turn = 0; ; turn += 1) {
    Object.assign(item, { state: "asking", sent: 0 });
    changed(item);
    try {
      fits(item.file);
      return complete(await post(`api/v1/classify?${query({ explain: false })}`, item.file, signal, (share) => {
        item.sent = share;
        changed(item);
      }));
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
    const back = stop.signal.aborted && stop.signal.reason === "wait";
    Object.assign(item, back ? { state: "waiting", trouble: null } : { state: "failed", trouble });
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
  const answer = await post(`api/v1/classify?${query({ explain: true })}`, item.file);
  if (S.model === model) item.why = { maps: answer.maps || [], photo: answer.photo, similar: answer.similar || [] };
}

export const correct = (item, right) =>
  post(`api/v1/corrections?${query({ said: item.answer.accepted ? item.answer.label : "", right })}`, item.file);
