// What the page knows: where it is, the last state that the studio sent, and whether it still sends.
// No step changes the state itself: what is shown as done was confirmed by the studio.
import { ask, follow, of } from "./requests.js";
import { millis } from "./words.js";

export const STEPS = ["name", "photos", "learn", "clean", "publish"];
export const S = { project: "", step: "", state: null, at: 0, link: "open", retry: 0, missing: null, fault: null };

const page = new EventTarget();

/** Say that something is new: "state", "link", "uploads", "route". */
export const tell = (what, detail) => page.dispatchEvent(new CustomEvent(what, { detail }));
export const on = (what, work) => page.addEventListener(what, (event) => work(event.detail));

let stream = null;

/** The address of a step; label: of a class that it is about. */
export const address = (project, step = "photos", label = "") =>
  `#${new URLSearchParams({ p: project, step, ...(label ? { label } : {}) })}`;

export const goTo = (project, step, label) => { location.hash = address(project, step, label); };

function take(state) {
  S.fault = null;
  S.state = state;
  S.at = Date.now();
  tell("state", state);
}

function fault(error) {
  S.fault = error;
  tell("link");
}

async function lost(seconds) {
  S.link = "lost";
  S.retry = Date.now() + 1000 * seconds;
  tell("link");
  try {
    const project = S.project, state = await ask(of(project));
    if (project === S.project) take(state);
  } catch (error) {
    if (error.status !== 404 && error.status !== 401 && error.status !== 403) return;
    S.missing = error;
    stop();
    tell("route");
  }
}

function back() {
  if (S.link === "open") return;
  S.link = "open";
  tell("link");
}

export function stop() {
  stream?.stop();
  stream = null;
}

/** Ask for the stream at once, as somebody does not want to wait. */
export const tryNow = () => stream?.again();

/** Read the address: another project is followed from here on. */
export function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)), project = asked.get("p") || "";
  S.step = project ? (STEPS.includes(asked.get("step")) ? asked.get("step") : "photos") : asked.get("step") || "";
  S.label = asked.get("label") || "";
  if (project !== S.project) {
    stop();
    Object.assign(S, { project, state: null, missing: null, fault: null, link: "open" });
    if (project) stream = follow(project, { state: take, fault, lost, back });
  }
  tell("route");
}

// -- jobs --------------------------------------------------------------------------------------

const BUSY = ["running", "stopping", "waiting"];
export const isBusy = (job) => BUSY.includes(job.state);
export const jobs = () => S.state?.jobs || [];
export const running = () => jobs().find((job) => job.state === "running" || job.state === "stopping");
export const busyOf = (...kinds) => jobs().find((job) => kinds.includes(job.kind) && isBusy(job));

const ended = (job) => millis(job.ended);

const neverBegan = (job) => job.error?.code === "NOT_BEGUN"; // as the one before it was not done

/** The last job of these kinds that has ended, or of any kind. */
export const lastOf = (...kinds) => jobs().filter((job) => !isBusy(job) && !neverBegan(job) && (!kinds.length || kinds.includes(job.kind)))
  .sort((a, b) => ended(b) - ended(a))[0];

/** The job of this kind that was to follow `job` and never began. */
export const leftOut = (job, kind) => jobs().find((one) => one.kind === kind && neverBegan(one) && ended(one) >= ended(job));

/** Seconds that the last one of this kind took, or 0. */
export function lastTook(kind) {
  const done = jobs().filter((job) => job.kind === kind && job.state === "done" && job.begun && job.ended)
    .sort((a, b) => ended(b) - ended(a))[0];
  return done ? (ended(done) - millis(done.begun)) / 1000 : 0;
}
