// Classes with what is searched for: a list that can be added to, used for a new project and for one
// that is there.
import { h, newId } from "./parts.js";
import { ask } from "./requests.js";

/** Queries that may find photos of a class, or [] if the studio knows none. */
export async function suggestions(label) {
  try {
    const found = await ask(`api/suggestions?${new URLSearchParams({ label })}`);
    return found.queries || [];
  } catch {
    return [];
  }
}

/** Texts that are typed with commas between. */
export const typed = (text) => [...new Set(text.split(",").map((part) => part.trim()).filter(Boolean))];

/** A field for a name of a class and its button. add(label) may throw: the sentence is shown. */
export function adder(add, words = "Add the class") {
  const id = `add-${newId().slice(0, 8)}`;
  const field = h("input", { id, type: "text", autocomplete: "off", maxlength: 60, placeholder: "such as grizzly", "data-focus": "add" });
  const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
  async function take() {
    const labels = typed(field.value);
    trouble.hidden = true;
    try {
      for (const label of labels) await add(label);
      field.value = "";
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    field.focus();
  }
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); take(); } });
  return h("div", { class: "adder" }, h("label", { for: id }, "A class"), h("div", { class: "line" }, field, h("button", { type: "button", onclick: take }, words)), trouble);
}
