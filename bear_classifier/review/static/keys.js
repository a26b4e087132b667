// Every key, and the buttons that stand for one.
import { $, h, toast } from "./dom.js";
import { openClasses } from "./classes.js";
import { press, unconfirm, undo } from "./decide.js";
import { showFilters } from "./frame.js";
import { firstConflict, overwrite } from "./outbox.js";
import { S, allViews, drawMarks, setView, view } from "./state.js";
import { openAlike } from "./views/alike.js";

const KEYS = [
  ["k", "keep; in the grid all selected, or all shown"], ["d", "drop"],
  ["1–9, 0", "relabel to this class; to another or a new one, by its first letters"],
  ["r", "restore a dropped photo"], ["u", "undo the last decision, a batch as a whole"],
  ["n →", "next"], ["p ←", "previous"], ["g", "grid or one photo"], ["f", "filters"],
  ["l", "more like this photo, of all classes"], ["c", "groups of look-alikes"], ["m", "map of all photos"],
  ["e", "all photos, by class and source"], ["t", "photos without a label"],
  ["arrows, space", "move and select; with shift, select what is passed; a mouse dragged over photos does so too"],
  ["a", "select all shown, or none"], ["Enter", "look at one photo of the grid, open a group"],
  ["s, b, v", "on the map: lasso; box, which arrows move and Enter takes; move"], ["+ − z", "on the map: closer, farther, the whole"],
  ["o", "overwrite after a conflict"], ["Esc", "cancel"], ["?", "this list"],
];

function act(key) {
  if (key !== S.confirm?.key) unconfirm();
  if (key === "k") press(key, "keep");
  else if (key === "d") press(key, "drop");
  else if (key === "r") press(key, "restore");
  else if (/^[1-9]$/.test(key) && key <= S.project.labels.length) press(key, "relabel", S.project.labels[key - 1]);
  else if (key === "u") undo();
  else if (key === "n") view().go?.(1);
  else if (key === "p") view().go?.(-1);
  else if (key === "g") setView(S.view === "one" ? "grid" : "one");
  else if (key === "l") openAlike(view().here?.());
  else if (key === "0" && S.confirm?.key === "0") S.confirm.again();
  else if (key === "0") openClasses();
  else if (key === "f") showFilters($("filters").hidden);
  else if (key === "o") {
    const entry = firstConflict();
    if (entry) overwrite(entry);
    else toast("There is no conflict to overwrite");
  } else if (key === "?") { if ($("help").open) $("help").close(); else $("help").showModal(); }
  else {
    const other = allViews().find((one) => one.key === key);
    if (!other) return Boolean(view().pressed?.(key));
    setView(other.name);
  }
  return true;
}

function escape() { // the question goes first, then what the view has open, then what is chosen
  if (S.confirm) { unconfirm(); return; }
  if (view().escape?.()) return;
  S.chosen.clear();
  drawMarks();
}

/** From now on keys and buttons are heard. */
export function listen() {
  $("keys").replaceChildren(...KEYS.map(([key, does]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, does))));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("select, input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key;
    if (document.querySelector("dialog[open]") && !($("help").open && key === "?")) return;
    if (key === "Enter" && event.target.matches("button")) return; // it is pressed
    if (key === "Escape") { escape(); return; }
    if (key.startsWith("Arrow") && view().arrow?.(key, event)) { event.preventDefault(); return; }
    if (event.repeat) return; // a key that is held down does not decide about one photo after another
    if (act(key.length === 1 ? key.toLowerCase() : key)) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (button) act(button.dataset.key);
  });
}
