// What stands around every view: progress, filters, the toolbar, and where the page is.
import { $, h, keyed } from "./dom.js";
import { drawOutbox, isEmpty } from "./outbox.js";
import { S, allViews, on, view, writeHash } from "./state.js";

function drawAll() {
  $("view").lastChild.textContent = S.view === "one" ? "Grid" : "One";
  $("views").replaceChildren(...allViews().filter((one) => one.key && !one.hidden?.())
    .map((one) => keyed(one.key, one.title, { "aria-pressed": String(one === view()) })));
  $("many-box").hidden = S.view !== "grid";
  writeHash();
  drawProgress();
  drawActions();
  drawOutbox();
  view().draw();
}

function drawMarks() {
  view().marks?.();
  drawActions();
}

on("draw", drawAll);
on("marks", drawMarks);
on("progress", drawProgress);
on("ahead", () => view().ahead?.());
on("stored", (rows) => {
  drawProgress();
  view().stored?.(rows);
});

function drawProgress() {
  const p = S.progress;
  if (!p) return;
  const faults = p.faults < 0.5 ? "expected faults left: probably none" : `expected faults left: about ${Math.round(p.faults)}`;
  if (S.project.unranked) $("progress").replaceChildren("No first model yet, so nothing is ranked");
  else $("progress").replaceChildren(`${p.looked} of ${p.of} looked at; ${faults}`,
    ...(p.enough ? [". ", h("b", {}, `${p.stop}.`)] : []));
  $("progress").title = p.stop;
  const narrowed = ["label", "reason", "side"].filter((name) => S.filter[name]).length + (S.filter.state !== "open");
  $("filter").lastChild.textContent = narrowed ? `Filter (${narrowed})` : "Filter";
  $("done").style.width = `${p.of ? (100 * p.looked) / p.of : 0}%`;
  $("undo").disabled = !p.undo && isEmpty();
  $("undo").lastChild.textContent = p.undo ? `Undo ${p.undo.words}` : "Undo";
  $("undo").title = p.undo ? `Takes back: ${p.undo.words}` : "Nothing to undo";
  const names = { reason: { "": "Any" }, side: { "": "Any" }, label: { "": "Any" }, state: {} };
  const known = { label: ["", ...S.project.labels], reason: ["", ...S.project.reasons],
    side: ["", ...S.project.sides], state: S.project.states };
  for (const [name, values] of Object.entries(known)) {
    const chosen = S.filter[name];
    $(`f-${name}`).replaceChildren(...values.map((value) => {
      const n = value ? ` (${p.counts[name][value] || 0})` : "";
      return h("option", { value, selected: value === chosen }, (names[name][value] || value) + n);
    }));
  }
}

/** A button for each class that has a key, and one for the others. off: facts of all of them. */
export const labelButtons = (off) => [
  ...S.project.labels.slice(0, 9).map((label, i) => keyed(String(i + 1), label, { ...off, class: "label" }, "Relabel to ")),
  keyed("0", S.project.labels.length > 9 ? "Other class" : "New class", { ...off, class: "label" })];

function drawActions() {
  $("actions").replaceChildren(...view().buttons());
}

export function showFilters(shown) {
  $("filters").hidden = !shown;
  $("filter").setAttribute("aria-expanded", shown);
  if (shown) $("f-label").focus();
}
