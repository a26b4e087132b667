// Requests to the studio: JSON, files, and the stream of states.
import { Answer, askJson, refusal } from "./answers.js";
import { newId } from "./parts.js";

const GONE = "The studio does not answer. Start it again with: bears studio. This page waits for it.";

const strange = (status) => `The studio answers ${status}.`;
const STUDIO = { gone: GONE, strange, seconds: 30 };

/** What the studio answers; with a body it is a POST. Throws Answer. */
export const ask = (path, body) => askJson(path, body, STUDIO);

/** Send the bytes of one file; progress(share) while they go. Throws Answer. */
export function send(path, blob, progress = () => {}) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("X-Bears", "1");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) progress(event.loaded / event.total); });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) done(request.response || {});
      else failed(refusal(request.status, request.response, strange(request.status)));
    });
    for (const ending of ["error", "abort", "timeout"]) request.addEventListener(ending, () => failed(new Answer(0, "NO_SERVER", GONE)));
    request.send(blob);
  });
}

const place = (project) => `api/projects/${encodeURIComponent(project)}`;

/** The address of something of a project, such as "jobs". */
export const of = (project, rest = "") => (rest ? `${place(project)}/${rest}` : place(project));

/** Start a job. choices: of its kind; after: the job that has to be done first. */
export const startJob = (project, kind, choices = {}) => ask(of(project, "jobs"), { kind, ...choices, request: newId() });

const FIRST = 1, LONGEST = 10; // seconds until the stream is asked for again
const SILENCE = 25; // seconds without a word, of which the studio sends one in ten: nobody is there

/** Follow the states of a project until `stop` is called. state(document) for each, or
 * fault(error) where the project cannot be read; lost(seconds)
 * when the stream ends, with the seconds until it is tried again; back() when it is there again. */
export function follow(project, { state, fault, lost, back }) {
  let source = null, wait = FIRST, timer = 0, silence = 0, stopped = false;
  function leave() {
    clearTimeout(timer);
    clearTimeout(silence);
    source?.close();
  }
  function broken() {
    leave();
    if (stopped) return;
    lost(wait);
    timer = setTimeout(join, 1000 * wait);
    wait = Math.min(LONGEST, 2 * wait);
  }
  /** A word of the studio: it is there. */
  function heard() {
    clearTimeout(silence);
    silence = setTimeout(broken, 1000 * SILENCE);
    back();
  }
  function join() {
    leave();
    silence = setTimeout(broken, 1000 * SILENCE);
    source = new EventSource(of(project, "events"));
    source.addEventListener("ping", heard);
    source.addEventListener("state", (event) => {
      wait = FIRST;
      heard();
      state(JSON.parse(event.data));
    });
    source.addEventListener("fault", (event) => {
      heard();
      fault(JSON.parse(event.data).error);
    });
    source.addEventListener("error", broken);
  }
  const again = () => { wait = FIRST; join(); };
  // A browser has six connections to a host: a tab that nobody sees gives its own back.
  const seen = () => {
    if (document.hidden) leave();
    else again();
  };
  addEventListener("online", again);
  document.addEventListener("visibilitychange", seen);
  join();
  return { again, stop() {
    stopped = true;
    leave();
    removeEventListener("online", again);
    document.removeEventListener("visibilitychange", seen);
  } };
}
