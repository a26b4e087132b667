// Relabel to a class that has no key of its own: by its first letters.
import { $, h } from "./dom.js";
import { press } from "./decide.js";
import { S } from "./state.js";

function take(label) {
  $("classes").close();
  press("0", "relabel", label);
}

/** The classes that fit what was typed: those that begin with it first, then those that hold it. */
export function fitting(labels, typed) {
  const part = typed.trim().toLowerCase(), low = (label) => label.toLowerCase();
  const begin = labels.filter((label) => low(label).startsWith(part));
  return [...begin, ...labels.filter((label) => !begin.includes(label) && low(label).includes(part))];
}

function drawClasses() {
  const found = fitting(S.project.labels, $("class-name").value);
  $("class-list").replaceChildren(...found.map((label, n) =>
    h("button", { class: n ? "" : "main", onclick: () => take(label) }, label)),
    ...(found.length ? [] : [h("p", { class: "soft" }, "No class fits")]));
}

let heard = false;

/** Ask for the class. */
export function openClasses() {
  if (!heard) {
    heard = true;
    $("class-name").addEventListener("input", drawClasses);
    $("class-name").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      $("class-list").querySelector("button")?.click();
    });
  }
  $("class-name").value = "";
  drawClasses();
  $("classes").showModal();
  $("class-name").focus();
}
