// What the review page adds to the parts that all pages share.
import { $, h, heard } from "./parts.js";

export { $, h, heard, plural, when } from "./parts.js";

/** A button with its key. before: words that are only heard; what is seen is a part of the name. */
export const keyed = (key, text, facts = {}, before = "") =>
  h("button", { "data-key": key, ...facts }, h("kbd", {}, key), heard(before), h("span", {}, text));

export const photoUrl = (sha, size) => `photo/${sha}?size=${size}`;

/** With a space that does not break. */
export const percent = (p) => `${Math.round(100 * p)}\u00a0%`;

let fading = 0;

/** A sentence that goes away by itself. */
export function toast(text) {
  clearTimeout(fading);
  $("toast").textContent = text;
  fading = setTimeout(() => { $("toast").textContent = ""; }, 6000);
}
