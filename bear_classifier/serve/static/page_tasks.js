// A worker that is given tasks, each of which ends in a result or in words why there is none.
import { Trouble } from "./page_parts.js";

/** {ask(task, given, transfer, signal), end()}; heard(bytes): how much of the model has come. */
export function newWorker(heard = () => {}) {
  const worker = new Worker(new URL("./page_worker.js", import.meta.url), { type: "module" });
  const waiting = new Map(); // number of a task -> {done, fail}
  let asked = 0, over = null;

  function end(trouble = new Trouble("STOPPED", "Stopped.", { again: true })) {
    over = trouble;
    worker.terminate();
    for (const one of waiting.values()) one.fail(trouble);
    waiting.clear();
  }

  worker.addEventListener("message", ({ data }) => {
    if (data.loaded) { heard(data.loaded); return; }
    const one = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.trouble) one?.fail(new Trouble(data.trouble.code, data.trouble.message, { again: data.trouble.code === "NO_MODEL" }));
    else one?.done(data.result);
  });
  worker.addEventListener("error", () => { // such as too little memory
    end(new Trouble("NO_ANSWER", "The model stopped working in this browser. Try again.", { again: true }));
  });

  return {
    end,
    isOver: () => over !== null,
    ask: (task, given, transfer = [], signal = null) => new Promise((done, fail) => {
      if (over) { fail(over); return; }
      const id = (asked += 1);
      waiting.set(id, { done, fail });
      signal?.addEventListener("abort", () => { waiting.delete(id); fail(new Trouble("STOPPED", "Stopped.", { again: true })); });
      worker.postMessage({ id, task, given }, transfer);
    }),
  };
}
