// What stands where the queue ends.
import { h, keyed } from "../dom.js";
import { chooseFilter } from "../queue.js";
import { S } from "../state.js";

export function ended() {
  const p = S.progress;
  if (S.project.unranked) {
    return h("div", { class: "end" }, h("h2", {}, "Nothing is ranked yet"), h("p", { class: "soft" }, S.project.unranked),
      keyed("e", "All photos"));
  }
  const none = !S.of && !S.rows.length;
  return h("div", { class: "end" },
    h("h2", {}, none ? "No photo fits this filter" : "That is the end of this list"),
    p && h("p", { class: "soft" }, `${p.looked} of ${p.of} looked at. ${p.stop}.`),
    keyed("p", "Back"), h("button", { onclick: () => chooseFilter({ state: "open" }) }, "From the start, what is still open"));
}
