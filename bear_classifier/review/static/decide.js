// Deciding: which photos a key is about, the question on the test split, and undo.
import { $, h, plural, toast } from "./dom.js";
import { drained, forget, lastWaiting, put, stored, unmark } from "./outbox.js";
import { newId } from "./parts.js";
import { ask } from "./server.js";
import { S, draw, filters, tell, view } from "./state.js";

const MOST = 1000; // photos that one decision may be about

function inWords(action, label, rows) {
  const own = rows[0].label ? `photo labelled ${rows[0].label}` : "photo without a label";
  const what = rows.length === 1 ? own : plural(rows.length, "photo");
  return {
    keep: rows[0].label ? [`Keep ${what}`, `kept ${what}`] : [`Confirm ${what}`, `confirmed ${what}`], drop: [`Drop ${what}`, `dropped ${what}`],
    restore: [`Restore ${what}`, `restored ${what}`],
    relabel: [`Relabel ${what} to ${label}`, `relabelled ${what} to ${label}`],
  }[action];
}

function decide(rows, action, label = "") {
  const items = rows.map((r) => {
    if (action === "keep" && !r.label) return { sha256: r.sha256, action: "relabel", label: r.suggested, based: r.based };
    const same = action === "relabel" && r.label === label;
    return { sha256: r.sha256, action: same ? "keep" : action, label: same ? "" : label, based: r.based };
  });
  const [words, done] = inWords(action, label, rows);
  const test_side = rows.filter((r, n) => r.split === "test" && items[n].action !== "keep").length; // which it was asked about
  put({ request: newId(), at: Date.now(), items, test_side, words, done, state: "waiting", sentence: "", overwrite: false, tried: 0 });
}

/** A key or button was pressed: decide on the photos that the view names, or say why not. */
export function press(key, action, label) {
  const all = view().subjects(action);
  const open = action === "restore" ? ["dropped"] : ["ok", "unlabelled"];
  const usable = all.filter((r) => open.includes(r.status));
  const rows = usable.filter((r) => action !== "keep" || r.label || r.suggested);
  if (!rows.length) {
    toast(usable.length ? "No class is proposed yet; press the key of its class" : action === "restore" ? "Only a dropped photo can be restored"
      : all.length ? "This photo is not in use; restore it first (r)"
      : view().none?.() || "There is no photo here");
    return;
  }
  if (rows.length > MOST) { toast(`${rows.length} photos at once are too many: at most ${MOST}; select some of them`); return; }
  if (rows.some((r) => r.pending)) { toast("The last decision on it is not stored yet"); return; }
  const tests = rows.filter((r) => r.split === "test" && action !== "keep"
    && !(action === "relabel" && r.label === label)).length;
  const about = key + rows.map((r) => r.sha256).join();
  if (tests && S.confirm?.about !== about) {
    S.confirm = { key, about, again: () => press(key, action, label) };
    const who = rows.length === 1 ? "This photo is" : `${tests} of these photos ${tests > 1 ? "are" : "is"}`;
    $("confirm").replaceChildren(
      h("span", {}, `${who} on the test split: it changes what the model is judged by. Press ${key} again to store it.`),
      h("button", { onclick: S.confirm.again }, h("kbd", {}, key.length === 1 ? key : "↵"), h("span", {}, "Yes, store it")), h("button", { onclick: unconfirm }, "No"));
    $("confirm").hidden = false;
    return;
  }
  unconfirm();
  decide(rows, action, label);
  view().decided?.(action, rows);
}

export function unconfirm() {
  S.confirm = null;
  $("confirm").hidden = true;
}

let undoing = Promise.resolve();

/** Take back the last decision; pressed twice, the last two, one after the other. */
export function undo() {
  undoing = undoing.then(undoLast, undoLast);
  return undoing;
}

async function undoLast() {
  if (drained()) await drained();
  const left = lastWaiting();
  if (left && !left.tried) {
    forget(left);
    unmark(left);
    toast(`Taken back before it was stored: ${left.words}`);
    draw();
    return;
  }
  if (left) { toast("The server does not answer; undo when it does"); return; }
  const next = S.progress && S.progress.undo;
  if (!next) { toast("There is nothing to undo"); return; }
  try {
    const answer = await ask(`api/undo?${filters()}`, { shown: next.event });
    stored(answer, `Undone: ${next.words}`);
    await view().undone?.(answer.rows);
    draw();
  } catch (error) {
    toast(error.message);
    if (error.status !== 409) return;
    S.progress = await ask(`api/progress?${filters()}`);
    tell("progress");
  }
}

const DECISIONS = { keep: "Kept", drop: "Dropped", restore: "Restored" };

/** What was decided on a photo, in words, or nothing. */
export function decisionOf(r) {
  const item = r.pending;
  if (item) return `${DECISIONS[item.action] || `Now ${item.label}`} (storing)`;
  if (r.status === "dropped") return "Dropped";
  if (!r.decision) return ["ok", "unlabelled"].includes(r.status) ? "" : `Not in use: ${r.status}`;
  return { keep: "Kept", relabel: `Relabelled from ${r.decision.old}`, restore: "Restored", confirm: `Confirmed as ${r.decision.new}` }[r.decision.action] || r.decision.action;
}
