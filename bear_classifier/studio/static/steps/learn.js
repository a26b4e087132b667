// One button: a first model within a minute or so, then fine-tuning behind it; each figure with what
// it is worth.
import { h, plural } from "../parts.js";
import { block, doing, figure } from "../blocks.js";
import { curve } from "../chart.js";
import { goOn, jobWords, stopJob } from "../jobbar.js";
import { drawNotes } from "../notes.js";
import { resultsTable } from "../results.js";
import { startJob } from "../requests.js";
import { S, address, busyOf, lastOf, lastTook } from "../store.js";
import { certainty, kindThing, moment, number, photos, share, stageWords, time } from "../words.js";

const NAMED = 4; // classes with too few photos
const PER_PHOTO = 0.2; // seconds of the first model on two cores, reading the photos included

let L = null;

/** Make the first model, and fine-tune after it. */
async function begin(tune) {
  const job = await startJob(S.project, "learn");
  if (tune) await startJob(S.project, "train", { after: job.id });
}


/** What the two parts take, before they begin. */
function takes(state) {
  const n = state.photos.usable, first = lastTook("learn") || Math.max(20, PER_PHOTO * n), tuned = lastTook("train");
  return [`The first model takes about ${time(first)}${lastTook("learn") ? ", as last time" : ` for ${photos(n)} on two cores`}. It answers well already.`,
    `Fine-tuning then goes on behind it${tuned ? ` for about ${time(tuned)}, as last time` : ", some minutes up to an hour on a computer without a graphics processor"}. You can stop it and go on later, close the tab, and use the first model meanwhile.`];
}

/** stuck: whether an earlier training can go on, which comes first then. */
function start(state, stuck = false) {
  const short = state.labels.filter((label) => !(state.photos.by_class[label]?.usable));
  const both = h("input", { type: "checkbox", id: "tune", checked: true });
  if (short.length) {
    return h("section", { class: "card act" }, h("h2", {}, "Photos come first"), h("p", {}, `${short.length === 1 ? `${short[0]} has` : `${plural(short.length, "class").replace("classs", "classes")} have`} no photos yet, so there is nothing to learn from.`),
      h("div", { class: "tools" }, h("a", { class: "button main", href: address(S.project, "photos", short[0]), "data-focus": "add" }, "Add photos")));
  }
  const again = Boolean(state.first || state.model), lacking = (state.advice || []).filter((one) => one.step === "photos" && one.level === "warn" && one.action?.label);
  if (!again && lacking.length && !state.advice.some((one) => one.step === "learn")) {
    return h("section", { class: "card act" }, h("h2", {}, "Too few photos to learn from"), ...lacking.slice(0, NAMED).map((one) => h("p", {}, one.sentence)),
      h("div", { class: "tools" }, h("a", { class: "button main", href: address(S.project, "photos", lacking[0].action.label), "data-focus": "add" }, "Add photos")));
  }
  return h("section", { class: "card act" }, h("h2", {}, again ? "Learn anew" : `Learn from ${photos(state.photos.usable)}`),
    ...takes(state).map((words) => h("p", {}, words)),
    h("label", { class: "check" }, both, "Fine-tune after the first model"),
    h("div", { class: "tools" }, doing(again ? "Learn again" : "Learn", () => begin(both.checked), { class: stuck || (again && state.model?.current) ? "" : "main" })));
}

/** The work that goes on, with its stages. */
function working(job) {
  const stages = (job.stages || []).filter((one) => one.state !== "up to date");
  return h("section", { class: "card act busy" }, h("h2", {}, job.kind === "learn" ? "Making the first model" : "Fine-tuning"),
    h("p", {}, jobWords(job)),
    job.kind === "train" ? h("p", { class: "soft" }, S.state.first ? "The first model can be used meanwhile: clean its photos, or try it." : "") : h("p", { class: "soft" }, "Its error and what that is worth appear here when it is done."),
    stages.length ? h("ol", { class: "stages" }, ...stages.map((one) => h("li", { class: one.state === "begun" ? "now" : "" }, h("span", {}, stageWords(one.name)), h("span", { class: "soft" }, one.state === "begun" ? one.text || "at work" : one.seconds ? `done in ${time(one.seconds)}` : "done")))) : null,
    h("div", { class: "tools" }, job.state === "stopping" ? h("p", {}, "It stops after the photos that it has in hand, and keeps what it has.") : doing("Stop", () => stopJob(job))));
}

function held(job) {
  const words = job.state === "failed" ? `The ${kindThing(job.kind)} failed ${moment(job.ended)}. ${job.error?.sentence || ""}` : job.state === "stopped" ? `You stopped the ${kindThing(job.kind)}. What it has learned so far is kept.`
    : `The ${kindThing(job.kind)} was interrupted. What it has learned so far is kept.`;
  return h("section", { class: "card act alarm" }, h("h2", {}, job.state === "failed" ? "It did not work" : "Not finished"), h("p", { role: "alert" }, words), h("div", { class: "tools" }, doing("Go on", () => goOn(job), { class: "main" })));
}

const wrongOf = (judged) => (judged.error === 0 ? `0 of ${number(judged.n)}` : share(judged.error));

function figures(state) {
  const rows = [];
  if (state.model) {
    const tuned = state.model.trained === "fine-tuned";
    rows.push(figure(tuned ? "The fine-tuned model is wrong on" : "The first model, on test photos, is wrong on", wrongOf(state.model), certainty(state.model.interval),
      state.model.interval ? `Measured on ${photos(state.model.n)} that were set aside: it learned nothing from them.` : "No test photo has judged it.",
      state.model.current === false && !busyOf("learn", "train") ? "Photos or labels have changed since; learn again to measure what it does now." : state.model.made ? `Made ${moment(state.model.made)}.` : ""));
  }
  if (state.first) {
    rows.push(figure("The first model is wrong on", wrongOf(state.first), certainty(state.first.interval),
      `Measured on ${photos(state.first.n)}, each answered by a model that did not learn from it.`));
  }
  return rows;
}

/** The last training that has epochs, running or ended. */
const trained = () => busyOf("train") || lastOf("train");

export const learn = {
  build(root, state) {
    L = { act: h("div"), again: h("div"), onward: h("div", { class: "tools onward" }), figures: h("div", { class: "figures", role: "status" }), notes: h("div"), curve: h("div"), results: h("div") };
    root.replaceChildren(h("h1", {}, "Learn"), h("p", { class: "lede" }, "The studio learns from your photos, and measures itself on photos that it did not learn from."),
      L.act, L.figures, L.notes, L.curve, L.results, L.again,
      L.onward);
    this.update(state);
  },
  update(state) {
    const job = busyOf("learn", "train"), now = job?.state === "waiting" ? busyOf("learn") || job : job, last = lastOf("learn", "train");
    const stuck = !now && last && ["failed", "stopped", "interrupted"].includes(last.state) ? last : null;
    const offered = [state.photos.usable, state.labels, !state.first, state.model?.current, state.advice, state.labels.map((label) => Boolean(state.photos.by_class[label]?.usable))];
    const below = !now && state.model?.current; // the figures come first where they are those of today
    block(L.act, now ? [now.id, now.state, jobWords(now), now.stages] : [stuck, below, offered],
      () => (now ? working(now) : [stuck ? held(stuck) : null, below ? null : start(state, Boolean(stuck))]));
    block(L.again, [below, offered], () => (below ? start(state) : []));
    block(L.figures, [state.model, state.first, Boolean(job)], () => figures(state));
    drawNotes(L.notes, "learn", (action) => action.job === "learn");
    const shown = trained(), rows = (shown?.epochs || []).filter((row) => typeof row.error === "number");
    block(L.curve, [rows, shown?.state], () => (rows.length ? h("section", { class: "card", "aria-labelledby": "curve-title" }, h("h2", { id: "curve-title" }, "Fine-tuning, epoch by epoch"),
      curve(rows, rows[0].epochs),
      h("p", { class: "soft small" }, "An epoch is one pass over all photos. The error is measured on the photos set aside to tune on, and the best epoch is kept: so it looks a little better than it is. The figure above, on photos used for nothing else, is the one to trust.")) : []));
    block(L.onward, Boolean(state.first), () => (state.first ? h("a", { class: "button", href: address(S.project, "clean") }, "On to cleaning") : []));
    block(L.results, state.results || [], () => resultsTable(state.results || []));
  },
};
