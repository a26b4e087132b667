// The five steps, each with its state in words and a figure.
import { $, h } from "./parts.js";
import { block } from "./blocks.js";
import { S, STEPS, address, busyOf } from "./store.js";
import { photos, share } from "./words.js";

const TITLES = { name: "Name", photos: "Photos", learn: "Learn", clean: "Clean", publish: "Publish" };

const warnings = (state, step) => (state.advice || []).filter((one) => one.step === step && one.level === "warn").length;

const mends = (n) => (n ? `, ${n} to mend` : "");

/** The state of a step in a few words. */
const words = {
  name: (state) => `${state.labels.length} ${state.labels.length === 1 ? "class" : "classes"}`,
  photos(state) {
    if (busyOf("search", "draw", "take-in", "take-in-zip", "take-in-unlabelled")) return `${photos(state.photos.usable)}, more are coming`;
    return state.photos.usable ? `${photos(state.photos.usable)}${mends(warnings(state, "photos"))}` : "None yet";
  },
  learn(state) {
    const busy = busyOf("learn", "train"), model = state.model || state.first;
    if (busy) return busy.state === "waiting" ? "Waits" : busy.kind === "learn" ? "Making the first model" : "Fine-tuning";
    if (!model) return "Not yet";
    return `${model.error === 0 ? `0 of ${model.n}` : share(model.error)} wrong${state.model && state.model.current === false ? ", before the last changes" : ""}`;
  },
  clean: (state) => (state.suspects ? (state.suspects.waiting ? `${state.suspects.waiting} to look at` : "Nothing to look at") : "After the first model"),
  publish: (state) => (state.model ? "Ready to try" : "After the first model"),
};

export function drawRail() {
  const { state, step } = S;
  if (!S.project) return;
  const rows = STEPS.map((name, n) => ({ name, n: n + 1, said: state ? words[name](state) : "", here: name === step,
    done: state?.steps?.[name] === "done" }));
  block($("rail-steps"), [S.project, rows], () => rows.map((row) => h("li", {},
    h("a", { href: address(S.project, row.name), "data-focus": row.name, "aria-current": row.here ? "step" : false, class: row.done ? "done" : "" },
      h("span", { class: "mark", "aria-hidden": "true" }, row.done ? "✓" : String(row.n)),
      h("span", { class: "title" }, TITLES[row.name]),
      h("span", { class: "said" }, row.said)))));
}
