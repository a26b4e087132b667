// Elements, words and numbers that every page uses. Every text is set as text, never as HTML.

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

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
export const megabytes = (n) => `${(n / 1e6).toFixed(n % 1e6 ? 1 : 0)} MB`;
const two = (n) => String(n).padStart(2, "0");

/** A time of the server (UTC) as clocks show it here. */
export const when = (at) => {
  const t = new Date(at);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
};

/** The identity of a request: sent twice, it is carried out once. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
