// What the studio advises at a step, each sentence with its figure and what can be done about it.
import { h } from "./parts.js";
import { block, doing } from "./blocks.js";
import { startJob } from "./requests.js";
import { S, address, busyOf } from "./store.js";

const SHOWN = 4; // the others can be opened

function actionOf(action) {
  if (!action) return null;
  if (action.job) return doing(action.words, () => startJob(S.project, action.job));
  return h("a", { class: "button", href: address(S.project, action.step, action.label || ""), "data-focus": action.words }, action.words);
}

/** Draw the advice on a step into `root`; skip(action): whether an action has its own place there. */
export function drawNotes(root, step, skip = () => false) {
  const rows = (S.state.advice || []).filter((one) => one.step === step).map((one) => {
    const own = one.action && (skip(one.action) || (one.action.job && busyOf(one.action.job)));
    return { ...one, action: own ? null : one.action };
  });
  const items = (some) => some.map((one) => h("li", { class: one.level }, h("p", {}, one.level === "warn" && h("span", { class: "heard" }, "To mend: "), one.sentence), actionOf(one.action)));
  block(root, rows, () => (rows.length ? [h("ul", { class: "notes", "aria-label": "What to do" }, ...items(rows.slice(0, SHOWN))),
    rows.length > SHOWN && h("details", {}, h("summary", {}, `${rows.length - SHOWN} more`), h("ul", { class: "notes" }, ...items(rows.slice(SHOWN))))] : []));
}
