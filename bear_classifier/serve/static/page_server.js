// Answers from the server: its API, with failures in words.
import { Trouble } from "./page_parts.js";
import { uprightJpeg } from "./page_upright.js";

const PATIENCE = 120000; // milliseconds until a photo's request counts as lost
const SOON = 30000; // and another one
const LONGEST = 60; // seconds; a server may ask for more, but nobody watches that

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
    const stopped = () => fail(new Trouble("STOPPED", "Stopped.", { again: true }));
    if (signal?.aborted) { stopped(); return; }
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
    call.addEventListener("abort", stopped);
    signal?.addEventListener("abort", () => call.abort());
    call.send(file);
  });
}

async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(SOON) });
  } catch {
    throw new Trouble("OFFLINE", "The server does not answer. Check the connection, then try again.", { again: true });
  }
  if (!answer.ok) throw failure(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer.json();
}

let known = null; // a promise of what it said of its models

function models() {
  known = get("api/v1/models");
  known.catch(() => { known = null; });
  return known;
}

const about = () => known ?? models();

/** What is sent of a photo: the file, or of a HEIC the upright JPEG, where this browser can make it. */
const sendable = async (file) => (await uprightJpeg(file, about)) ?? file;

const query = (model, facts) => new URLSearchParams({ ...(model && { model }), ...facts });

async function classify(file, model, signal, sent) {
  const answer = await post(`api/v1/classify?${query(model, { explain: false })}`, await sendable(file), signal, sent);
  if (!answer.sentence || !answer.label || !answer.probabilities) throw failure(502, "", 0);
  return answer;
}

/** What page_ask.js asks; page_device.js offers the same without a server. about(): as models(), of
 * before; deviceFacts(model): what a browser loads for it. */
export const server = {
  models,
  about,
  classify,
  deviceFacts: (model) => get(`api/v1/models/${encodeURIComponent(model)}/device`),
  explain: async (file, model) => post(`api/v1/classify?${query(model, { explain: true })}`, await sendable(file)),
  correct: async (file, model, said, right) => post(`api/v1/corrections?${query(model, { said, right })}`, await sendable(file)),
};
