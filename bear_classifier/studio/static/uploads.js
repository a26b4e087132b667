// Files on their way to the studio: three at a time, each confirmed by the studio or refused with a
// reason. Nothing is shown as stored before the studio says so.
import { of, send } from "./requests.js";
import { S, tell } from "./store.js";

const AT_ONCE = 3;
const AGAIN = 3000; // milliseconds
const TOO_SLOW = 408; // of the network, not of the file
const ALL = [401, 403, 404, 429, 507]; // the password, the project's name, the pace, the disk
const entries = []; // {id, round, project, label, name, file, state, message, url}
let last = 0, round = 0, sending = 0, paused = false, telling = 0; // a round ends when all is answered

export const READABLE = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|heif|avif|mpo)$/i;

/** Say it at most ten times a second: a redraw for each of 300 files would be felt. */
function changed() {
  telling ||= setTimeout(() => { telling = 0; tell("uploads"); }, 100);
}

/** Put files at the end of the queue. label: "" for photos without a class. */
export function add(project, label, files) {
  if (!unsent()) round += 1;
  for (const { file, name } of files) {
    entries.push({ id: (last += 1), round, project, label, name: name || file.name, file, state: "waiting", message: "", url: "" });
  }
  paused = false;
  pump();
  changed();
}

async function sendOne(entry) {
  entry.state = "sending";
  sending += 1;
  try {
    const answer = await send(of(entry.project, `photos?${new URLSearchParams({ label: entry.label, name: entry.name })}`), entry.file);
    entry.state = answer.outcome === "known" ? "known" : "stored";
    entry.at = Date.now();
  } catch (error) {
    if (error.lost || error.status === TOO_SLOW) { // the file waits until the studio answers again
      entry.state = "waiting";
      entry.message = ["NO_SERVER", "ERROR"].includes(error.code) ? "" : error.message;
      paused = true;
      setTimeout(wakeUp, AGAIN);
    } else { // of the file, or of all: then a person has to do something first
      const all = ALL.includes(error.status);
      entry.state = all ? "failed" : "refused";
      paused ||= all;
      entry.message = error.message;
    }
  } finally {
    sending -= 1;
    changed();
    pump();
  }
}

function pump() {
  while (!paused && sending < AT_ONCE) {
    const next = entries.find((entry) => entry.state === "waiting");
    if (!next) return;
    sendOne(next);
  }
}

/** Go on after the studio answered again. */
export function wakeUp() {
  paused = false;
  pump();
  changed();
}

/** Try once more what failed, and what waits. */
export function retry() {
  for (const entry of entries) if (entry.state === "failed") Object.assign(entry, { state: "waiting", message: "" });
  wakeUp();
}

/** The project has another name now: what waits goes there. */
export function renamed(from, to) {
  for (const entry of entries) if (entry.project === from) entry.project = to;
}

/** Take back what was not sent yet. */
export function giveUp() {
  drop((entry) => entry.state === "waiting" || entry.state === "failed");
}

/** The list of refused files was read. */
export function forgetRefused(label) {
  drop((entry) => entry.label === label && ["refused", "known"].includes(entry.state));
}

function drop(which) {
  for (let n = entries.length - 1; n >= 0; n -= 1) {
    if (!which(entries[n])) continue;
    if (entries[n].url) URL.revokeObjectURL(entries[n].url);
    entries.splice(n, 1);
  }
  changed();
}

/** What was stored before the last state is in the catalog now: the studio's own pictures take its place. */
export function takenIn() {
  const isIn = (entry) => entry.state === "stored" && entry.project === S.project && entry.at < S.at;
  if (entries.some(isIn)) drop(isIn);
}

const GOING = ["waiting", "sending", "failed"];
export const unsent = () => entries.some((entry) => GOING.includes(entry.state));

/** all, done, left: files of this round; paused: whether they wait for somebody. */
export function counts() {
  const own = entries.filter((entry) => entry.round === round), left = own.filter((entry) => GOING.includes(entry.state)).length;
  return { all: own.length, done: own.length - left, left, paused };
}

/** Why files are not sent, where the studio said so. */
export const why = () => entries.find((entry) => ["failed", "waiting"].includes(entry.state) && entry.message)?.message || "";

/** The files of one class of the project that is open. */
export const ofClass = (label) => entries.filter((entry) => entry.project === S.project && entry.label === label);

/** The address of a small picture of a file that is still here. */
export function pictureOf(entry) {
  entry.url ||= URL.createObjectURL(entry.file);
  return entry.url;
}
