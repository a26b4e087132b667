// What is happening, always in sight: the job at work, how far it is, what it will take, and a stop;
// or that nothing runs, or that the studio does not answer.
import { $, h, plural } from "./parts.js";
import { announce, block, doing } from "./blocks.js";
import { openLog } from "./commands.js";
import { ask, of } from "./requests.js";
import { S, isBusy, jobs, lastOf, lastTook, leftOut, running, tryNow } from "./store.js";
import { counts } from "./uploads.js";
import { kindNow, kindThing, list, moment, number, stageWords, time } from "./words.js";

let ticking = 0;

/** What a job is at, in words: its stage, or that its program is only starting. */
function stage(job) {
  const now = job.stages?.findLast((one) => one.state === "begun");
  if (now) return [stageWords(now.name), now.text].filter(Boolean).join(", ");
  return job.state !== "running" || job.bar ? "" : job.stages?.length ? "between two stages" : "its program starts, which takes up to half a minute";
}

/** What a bar counts, in words: 120 of 300 photos. */
function counted(bar) {
  if (!bar) return "";
  const name = bar.unit && bar.unit !== "it" ? bar.unit.trim() : "", many = (bar.total || bar.n) !== 1 && name && !name.endsWith("s") ? "s" : "";
  const unit = name && ` ${name}${many}`;
  return bar.total ? `${number(bar.n)} of ${number(bar.total)}${unit}` : bar.n ? `${number(bar.n)}${unit}` : "";
}

/** What is left of a job, in words. Only a bar with an end can say it, and only of its own work. */
function left(job) {
  const seconds = job.bar?.left_seconds;
  return seconds == null || job.bar.n >= job.bar.total ? "" : `about ${time(seconds)} left of this part`;
}

/** A job in one sentence; its parts are parted by middle dots. */
export function jobWords(job) {
  if (job.state === "waiting") {
    return [`${kindNow(job.kind)} waits`, job.held_by ? `${job.held_by.replace(/; wait for it.*$/, "")}; it begins when that has ended` : "it begins when the job before it has ended"].join(" · ");
  }
  if (job.state === "stopping") return `Stopping: ${kindThing(job.kind)} · it keeps what it has so far`;
  return [kindNow(job.kind), stage(job), counted(job.bar), left(job), whole(job)].filter(Boolean).join(" · ");
}

/** How long all of it took last time, where that is known. */
function whole(job) {
  const took = lastTook(job.kind);
  return took ? `${time(took)} in all last time` : "";
}

export const stopJob = (job) => ask(`api/jobs/${job.id}/cancel`, { request: job.id });

/** Go on with a job, and then with the fine-tuning that was to follow it. */
export async function goOn(job) {
  const left = job.kind === "learn" && leftOut(job, "train");
  const again = await ask(`api/jobs/${job.id}/resume`, { request: job.id });
  if (left) await ask(of(S.project, "jobs"), { kind: left.kind, after: again.id, request: `${left.id} again` }); // once
}

/** waiting: the jobs that come after it. */
function atWork(job, waiting) {
  const bar = job.bar?.total ? h("progress", { max: job.bar.total, value: Math.min(job.bar.n, job.bar.total), "aria-label": kindNow(job.kind) })
    : h("progress", { "aria-label": kindNow(job.kind) });
  const more = waiting.length ? h("span", { class: "soft" }, `. Then: ${list([...new Set(waiting.map((one) => kindThing(one.kind)))])}.`) : null;
  return [h("div", { class: "words" }, h("p", {}, h("span", { class: "dot busy", "aria-hidden": "true" }), jobWords(job), more), bar),
    h("div", { class: "tools" }, h("button", { type: "button", "data-focus": "log", onclick: () => openLog(job.id) }, "Details"),
      job.state === "stopping" ? null : doing("Stop", () => stopJob(job)))];
}

function afterwards(job) {
  const log = h("button", { type: "button", "data-focus": "log", onclick: () => openLog(job.id) }, "Details");
  const said = (words, kind, ...tools) => [h("div", { class: "words" }, h("p", {}, h("span", { class: `dot ${kind}`, "aria-hidden": "true" }), words)),
    h("div", { class: "tools" }, ...tools, log)];
  const thing = kindThing(job.kind), at = moment(job.ended);
  if (job.state === "failed") {
    return said(`The ${thing} failed ${at}: ${job.error?.sentence || "see the details"}`, "bad", doing("Try again", () => goOn(job)));
  }
  if (job.state === "interrupted") {
    return said(`The ${thing} was interrupted; what it had done is kept.`, "bad", doing("Go on", () => goOn(job)));
  }
  if (job.state === "stopped") return said(`You stopped the ${thing} ${at}; what it had done is kept.`, "", doing("Go on", () => goOn(job)));
  return said(`Nothing is running. Last: ${thing}, done ${at}.`, "good");
}

/** Of the files that wait to be sent. */
function sendWords() {
  const n = counts();
  if (!n.left) return "";
  return n.paused ? `${plural(n.left, "file")} wait to be sent` : `Sending ${n.done} of ${plural(n.all, "file")}`;
}

function drawLost() {
  const seconds = Math.max(0, Math.ceil((S.retry - Date.now()) / 1000));
  const bar = $("jobbar");
  bar.className = "lost";
  block(bar, "lost", () => [h("div", { class: "words" }, h("p", { role: "alert" }, h("span", { class: "dot bad", "aria-hidden": "true" }),
    `The studio does not answer. What it confirmed is kept, and its work goes on if it runs. You see how things stood ${moment(S.at / 1000)}. `, h("span", { class: "soft", id: "retry-in" }))),
  h("div", { class: "tools" }, h("button", { type: "button", "data-focus": "try", onclick: tryNow }, "Try now"))]);
  $("retry-in").textContent = seconds ? `Trying again in ${plural(seconds, "second")}.` : "Trying again.";
  clearTimeout(ticking);
  ticking = setTimeout(() => { if (S.link === "lost") drawLost(); }, 1000);
}

let heardOf = "";

/** Say what has changed to those who hear the page: not each figure, but each beginning and end. */
function sayNews(job, last) {
  const now = job ? `${job.id} ${job.state} ${stage(job)}` : last ? `${last.id} ${last.state}` : "";
  if (now === heardOf) return;
  const first = !heardOf;
  heardOf = now;
  if (job) announce(jobWords({ ...job, bar: null }));
  else if (last && !first) announce(`The ${kindThing(last.kind)} is ${last.state}. ${last.error?.sentence || ""}`);
}

export function drawJobbar() {
  const bar = $("jobbar");
  if (S.project && S.link === "lost") { drawLost(); return; }
  bar.className = "";
  if (S.project && S.fault) {
    bar.className = "bad";
    bar.hidden = false;
    block(bar, S.fault, () => h("p", { role: "alert" }, h("span", { class: "dot bad", "aria-hidden": "true" }), `The project cannot be read: ${S.fault.message}`));
    return;
  }
  if (!S.project || !S.state) {
    block(bar, sendWords(), () => (sendWords() ? h("p", {}, sendWords()) : null));
    bar.hidden = !sendWords();
    return;
  }
  bar.hidden = false;
  const busy = jobs().filter(isBusy), job = running() || busy[0], last = lastOf(), sending = sendWords();
  sayNews(job, last);
  const facts = job ? [job.id, job.state, jobWords(job), job.bar?.n, job.bar?.total, busy.length] : [last?.id, last?.state, last?.ended];
  bar.classList.toggle("bad", !job && ["failed", "interrupted"].includes(last?.state));
  block(bar, [facts, sending], () => {
    const sent = sending ? h("p", { class: "sending" }, sending) : null;
    if (job) return [sent, ...atWork(job, busy.filter((one) => one !== job))];
    if (last) return [sent, ...afterwards(last)];
    return [sent, sending ? null : h("p", { class: "soft" }, "Nothing is running.")];
  });
}
