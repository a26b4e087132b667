// Before and after: the models of a project, each compared with the one before on the same test photos.
import { h, plural } from "./parts.js";
import { between, moment, number, photos, share } from "./words.js";

/** What a training changed, in one sentence. */
function changed(row) {
  if (row.put_right == null || !row.n_same) return "The first one";
  const sure = row.put_right === row.newly_wrong ? "as many" : "";
  return `Of the same ${photos(number(row.n_same))}: ${row.put_right} put right, ${row.newly_wrong} newly wrong${sure ? ", so no difference" : ""}`;
}

/** A table of trainings, the last first; nothing for one alone. */
export function resultsTable(rows) {
  if (rows.length < 2) return [];
  const last = [...rows].reverse();
  return [h("section", { class: "card", "aria-labelledby": "results-title" }, h("h2", { id: "results-title" }, "Before and after"),
    h("p", {}, verdict(last[0])),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Trainings" }, h("table", {}, h("thead", {}, h("tr", {}, ...["Made", "Wrong on", "95% interval", "Test photos", "Compared with the one before"].map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", {}, ...last.map((row) => h("tr", {}, h("td", {}, moment(row.made)), h("td", { class: "n" }, share(row.error)), h("td", { class: "n" }, between(row.interval)), h("td", { class: "n" }, number(row.n)), h("td", {}, changed(row))))))))];
}

/** What the last training was worth. A difference of few photos can be chance: the sign test says so. */
function verdict(row) {
  if (!row.n_same) return "The test photos are others than before, so the two models cannot be compared.";
  const better = row.put_right - row.newly_wrong, n = row.put_right + row.newly_wrong;
  if (!n) return `The last training changed no answer on the ${photos(number(row.n_same))} that both were tested on.`;
  const p = chance(Math.min(row.put_right, row.newly_wrong), n);
  const what = better > 0 ? `put ${plural(better, "more answer")} right than it made wrong` : better < 0 ? `made ${plural(-better, "more answer")} wrong than it put right` : "made as many answers wrong as it put right";
  return `The last training ${what}, on the same ${photos(number(row.n_same))}. ${p > 0.05 ? "So small a difference can be chance." : "That is more than chance explains."}`;
}

/** Two-sided sign test (binomial with 1/2): how likely a split of n as uneven as `few` is by chance. */
export function chance(few, n) {
  let term = 0.5 ** n, sum = 0;
  for (let k = 0; k <= few; k += 1) {
    sum += term;
    term *= (n - k) / (k + 1);
  }
  return Math.min(1, 2 * sum);
}
