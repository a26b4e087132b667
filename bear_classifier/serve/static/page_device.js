// Answers from the model in this browser: no photo leaves it.
import { Trouble } from "./page_parts.js";

let worker = null;
let asked = 0;
const waiting = new Map(); // number of a task -> {done, fail}
const loading = new EventTarget();

/** loaded(bytes) hears how much of the model has come. */
export const onLoading = (act) => loading.addEventListener("loaded", (event) => act(event.detail));

function begin() {
  const made = new Worker(new URL("./page_worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data }) => {
    if (data.loaded) { loading.dispatchEvent(new CustomEvent("loaded", { detail: data.loaded })); return; }
    const one = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.trouble) one?.fail(new Trouble(data.trouble.code, data.trouble.message, { again: data.trouble.code === "NO_MODEL" }));
    else one?.done(data.result);
  });
  made.addEventListener("error", () => { // such as too little memory: the next photo begins anew
    made.terminate();
    if (worker === made) worker = null;
    for (const one of waiting.values()) one.fail(new Trouble("NO_ANSWER", "The model stopped working in this browser. Try again.", { again: true }));
    waiting.clear();
  });
  return made;
}

function ask(task, given, transfer = [], signal = null) {
  const id = (asked += 1);
  return new Promise((done, fail) => {
    waiting.set(id, { done, fail });
    signal?.addEventListener("abort", () => { waiting.delete(id); fail(new Trouble("STOPPED", "Stopped.", { again: true })); });
    worker.postMessage({ id, task, given }, transfer);
  });
}

let about = null;
let loaded = null; // a promise

async function ready() {
  if (!worker) {
    worker = begin();
    loaded = ask("load", about.device);
  }
  try {
    await loaded;
  } catch (trouble) {
    worker?.terminate();
    worker = null;
    throw trouble;
  }
}

async function models() {
  const response = await fetch("about.json").catch(() => null);
  if (!response?.ok) throw new Trouble("OFFLINE", "The page is not complete here. Check the connection, then load it again.", { again: true });
  about = await response.json();
  ready().catch(() => {}); // at once, before a photo is chosen, whose answer says why where it fails
  return about;
}

async function classify(file, model, signal) {
  await ready();
  return ask("classify", { file }, [], signal);
}

async function explain(file) {
  await ready();
  return ask("explain", { file });
}

/** The answer to one frame of the camera, an ImageBitmap, which is gone afterwards. */
async function frame(picture, where) {
  await ready();
  return ask("frame", { picture, where }, [picture]);
}

/** As page_server.js's `server`, and for the camera: frame(), limits() of an answer, crop() of the
 * shorter side that is seen. */
export const device = { models, classify, explain, frame, limits: () => about.device, crop: () => about.device.crop, correct: () => Promise.reject(new Trouble("NOT_FOUND", "This page keeps no corrections.")) };
