// Before and after: the models of a project, each compared with the one before on the same test photos.
import { h } from "./parts.js";
import { between, moment, number, photos, share } from "./words.js";

/** What a training changed, in one sentence. */
function changed(row) {
  if (row.put_right == null || !row.n_same) return "The first one";
  return `Of the same ${photos(row.n_same)}: ${row.put_right} put right, ${row.newly_wrong} newly wrong`;
}

/** A table of trainings, the last first; nothing for one alone. */
export function resultsTable(rows) {
  if (rows.length < 2) return [];
  const last = [...rows].reverse();
  return [h("section", { class: "card", "aria-labelledby": "results-title" }, h("h2", { id: "results-title" }, "Before and after"),
    last[0].sentence ? h("p", {}, last[0].sentence) : null,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Trainings" }, h("table", {}, h("thead", {}, h("tr", {}, ...["Made", "Wrong on", "95% interval", "Test photos", "Compared with the one before"].map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", {}, ...last.map((row) => h("tr", {}, h("td", {}, moment(row.made)), h("td", { class: "n" }, share(row.error)), h("td", { class: "n" }, between(row.interval)), h("td", { class: "n" }, number(row.n)), h("td", {}, changed(row))))))))];
}
