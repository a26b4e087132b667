// Answers from the model in this browser: no photo leaves it.
import { Trouble } from "./page_parts.js";
import { server } from "./page_server.js";
import { newWorker } from "./page_tasks.js";

const AGAIN = 60; // times that a server is asked for a model that it is still making
// As page_engine.js has it, which waits for this file and cannot be waited for by it.
const alone = document.body.dataset.engine === "device";
const news = new EventTarget();
let about = null; // a promise of what a page without a server says of its model
let held = null; // {name, facts, worker, loaded} of the model that is here or on its way

/** act({bytes, all}) hears how much of the model has come; {} while a server makes it ready. */
export const onLoading = (act) => news.addEventListener("loading", (event) => act(event.detail));
const say = (detail) => news.dispatchEvent(new CustomEvent("loading", { detail }));

async function factsOf(name) {
  if (alone) {
    const { device: facts, limits } = await (about ?? models()); // a photo may come first
    return { ...facts, limits };
  }
  for (let turn = 0; ; turn += 1) {
    try {
      const [facts, { limits }] = await Promise.all([server.deviceFacts(name), server.about()]);
      return { ...facts, limits };
    } catch (trouble) {
      if (trouble.code !== "MAKING" || turn >= AGAIN) throw trouble;
      say({});
      await new Promise((done) => setTimeout(done, 1000 * trouble.wait));
    }
  }
}

function begin(name) {
  const one = { name, facts: null };
  const heard = (bytes) => say({ bytes, all: one.facts.model.bytes + one.facts.wasm.bytes });
  one.worker = newWorker(heard);
  const loading = factsOf(name).then((facts) => {
    one.facts = facts;
    return one.worker.ask("load", facts);
  });
  one.loaded = Promise.race([loading, new Promise((_, fail) => { one.stop = fail; })]);
  return one;
}

/** Give the memory of the model back. */
function leave() {
  if (!held) return;
  const trouble = new Trouble("STOPPED", "Stopped.", { again: true });
  held.stop(trouble);
  held.worker.end(trouble);
  held = null;
}

/** The model of this name, once it can answer. */
async function ready(model) {
  const name = alone ? "" : model ?? (await server.about()).models.find((one) => one.default)?.name;
  const kept = held && !held.worker.isOver() && held.name === name;
  if (!kept) {
    leave();
    held = begin(name);
  }
  const one = held;
  try {
    await one.loaded;
  } catch (trouble) {
    one.worker.end(trouble); // the next photo begins anew
    throw trouble;
  }
  return one.worker;
}

async function read() {
  const response = await fetch("about.json").catch(() => null);
  if (!response?.ok) throw new Trouble("OFFLINE", "The page is not complete here. Check the connection, then load it again.", { again: true });
  return response.json();
}

function models() {
  if (!alone) return server.models();
  about = read();
  about.catch(() => { about = null; }); // asked again
  ready().catch(() => {}); // at once, before a photo is chosen, whose answer says why where it fails
  return about;
}

/** As page_server.js's `server`, and: load(model); for the camera frame(picture, where, model), where the
 * picture, an ImageBitmap, is gone afterwards, limits() of an answer, crop() of the shorter side that is seen. */
export const device = {
  models,
  load: ready,
  classify: async (file, model, signal) => (await ready(model)).ask("classify", { file }, [], signal),
  explain: async (file, model) => (await ready(model)).ask("explain", { file }),
  correct: alone ? () => Promise.reject(new Trouble("NOT_FOUND", "This page keeps no corrections.")) : server.correct,
  frame: async (picture, where, model) => (await ready(model)).ask("frame", { picture, where }, [picture]),
  limits: () => held.facts,
  crop: () => held.facts.crop,
  leave,
};
