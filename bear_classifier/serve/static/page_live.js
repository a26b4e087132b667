// Answers to the frames of a camera, made steady: the mean of the last moments, and a new answer only
// when it has come twice in a row.
import { sentence } from "./page_sentences.js";

const MEMORY = 0.25; // seconds in which the weight of a frame falls to 1/e
const TURNS = 2; // frames in a row before what is shown changes

const keyOf = ({ reason, label }) => (reason === "ok" ? `ok ${label}` : reason);

/** A function from one frame's answer and its time in seconds to the answer to show.
 * limits: {least: of the OOD score or null, close: lead of the likeliest class}. */
export function steady({ least, close }) {
  let mean = null, before = 0, shown = null, coming = "", turns = 0;
  return (answer, seconds) => {
    const names = Object.keys(answer.probabilities);
    const kept = mean ? Math.exp(-(seconds - before) / MEMORY) : 0;
    const mixed = (old, now) => kept * old + (1 - kept) * now;
    mean = {
      score: mixed(mean?.score ?? 0, answer.score),
      p: Object.fromEntries(names.map((name) => [name, mixed(mean?.p[name] ?? 0, answer.probabilities[name])])),
    };
    before = seconds;
    const [first, second] = [...names].sort((a, b) => mean.p[b] - mean.p[a]);
    const known = least === null || mean.score >= least, clear = mean.p[first] - mean.p[second] >= close;
    const reason = known ? (clear ? "ok" : "too_close") : "unlike_training";
    const now = { label: first, confidence: mean.p[first], probabilities: mean.p, reason, accepted: reason === "ok", map: answer.map };
    const key = keyOf(now);
    turns = key === coming ? turns + 1 : 1;
    coming = key;
    if (!shown || turns >= TURNS) shown = { label: now.label, reason: now.reason };
    const { label } = shown;
    const view = { ...now, label, reason: shown.reason, accepted: shown.reason === "ok", confidence: mean.p[label] };
    return { ...view, sentence: shown.reason === "unlike_training" ? "Nothing that it knows." : sentence(view) };
  };
}
