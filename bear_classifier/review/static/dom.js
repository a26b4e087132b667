// Elements, words and numbers. Every text is set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** An element. facts: its attributes; class, and on… for what it listens to; false leaves one out. */
export function h(tag, facts = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null && child !== false && child !== ""));
  return node;
}

/** Words that are only heard. */
export const heard = (words) => words && h("span", { class: "heard" }, words);

/** A button with its key. before: words that are only heard; what is seen is a part of the name. */
export const keyed = (key, text, facts = {}, before = "") =>
  h("button", { "data-key": key, ...facts }, h("kbd", {}, key), heard(before), h("span", {}, text));

export const photoUrl = (sha, size) => `photo/${sha}?size=${size}`;

/** A time of the catalog (UTC) as clocks show it here. */
export const when = (at) => {
  const t = new Date(at), two = (n) => String(n).padStart(2, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
};
/** With a space that does not break. */
export const percent = (p) => `${Math.round(100 * p)}\u00a0%`;
export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

let fading = 0;

/** A sentence that goes away by itself. */
export function toast(text) {
  clearTimeout(fading);
  $("toast").textContent = text;
  fading = setTimeout(() => { $("toast").textContent = ""; }, 6000);
}
