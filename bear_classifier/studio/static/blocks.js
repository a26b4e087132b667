// Parts of the page that are built anew only when what they show has changed, and common pieces.
import { $, h } from "./parts.js";

const shown = new WeakMap();
const late = new Map(); // nodes in which something is held down -> how to build them once it is let go

function letGo() {
  setTimeout(() => { // after the click that this is the end of
    const waiting = [...late];
    late.clear();
    for (const [node, [facts, build]] of waiting) block(node, facts, build);
  });
}
for (const kind of ["pointerup", "pointercancel", "keyup", "blur"]) addEventListener(kind, letGo, true);

/** Build what is in `node` anew if `facts` are others than last time. The element that has the focus
 * keeps it, by its data-focus; if it went away, the block gets it, so that no key is lost. What is held
 * down by mouse, finger or key stays until it is let go: else it would not be pressed. */
export function block(node, facts, build) {
  const key = JSON.stringify(facts);
  late.delete(node);
  if (shown.get(node) === key) return;
  if (node.querySelector("button:active, a:active")) {
    late.set(node, [facts, build]);
    return;
  }
  shown.set(node, key);
  const focused = node.contains(document.activeElement) && node !== document.activeElement ? document.activeElement : null;
  const name = focused && (focused.dataset.focus || focused.id);
  node.replaceChildren(...[build()].flat().filter(Boolean));
  if (!focused) return;
  const again = name && [...node.querySelectorAll("[data-focus], [id]")].find((one) => (one.dataset.focus || one.id) === name);
  if (!again) node.tabIndex = -1;
  (again || node).focus({ preventScroll: true });
}

const troubles = new Map(); // of buttons on this page, by their data-focus: they outlive being built anew
addEventListener("hashchange", () => troubles.clear());

/** A button that is off, with its reason, while `act` is at work; what goes wrong is shown beside it. */
export function doing(words, act, facts = {}) {
  const button = h("button", { type: "button", "data-focus": words, ...facts }, words), name = button.dataset.focus;
  const trouble = h("span", { class: "trouble", role: "alert", hidden: !troubles.has(name) }, troubles.get(name) || "");
  button.addEventListener("click", async () => {
    button.setAttribute("aria-disabled", "true");
    if (button.dataset.busy) return;
    button.dataset.busy = "1";
    trouble.hidden = true;
    troubles.delete(name);
    try {
      await act(button);
    } catch (error) {
      troubles.set(name, error.message);
      for (const same of document.querySelectorAll(`[data-focus="${CSS.escape(name)}"] + .trouble`)) {
        same.textContent = error.message;
        same.hidden = false;
      }
    } finally {
      delete button.dataset.busy;
      button.removeAttribute("aria-disabled");
    }
  });
  return h("span", { class: "doing" }, button, trouble);
}

/** A figure with what it is worth: a name, the number, and the sentences beside it. */
export const figure = (name, number, ...worth) => h("div", { class: "figure" },
  h("p", { class: "name" }, name), h("div", { class: "number" }, number), ...worth.filter(Boolean).map((words) => h("p", { class: "worth" }, words)));

/** Ask before something is done. Resolves to the chosen answer's value, or "" if it was closed. */
export function question(title, text, answers) {
  const box = $("question");
  return new Promise((done) => {
    let chosen = "";
    box.replaceChildren(h("h2", { id: "question-title" }, title), ...[text].flat().map((words) => h("p", {}, words)),
      h("div", { class: "tools" }, ...answers.map(([value, words, kind]) => h("button", { type: "button", class: kind || "", onclick: () => {
        chosen = value;
        box.close();
      } }, words)), h("button", { type: "button", onclick: () => box.close() }, "Cancel")));
    box.addEventListener("close", () => done(chosen), { once: true });
    box.showModal();
  });
}

/** Say something to those who hear the page. */
export function announce(words) {
  if ($("news").textContent !== words) $("news").textContent = words;
}
