// Relabel to a class that has no key of its own, by its first letters, or to a new one.
import { $, h, toast } from "./dom.js";
import { press } from "./decide.js";
import { newId } from "./parts.js";
import { ask } from "./server.js";
import { S, draw } from "./state.js";

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

/** A class that is not there can be made; never by Enter alone, which a slip of a letter would do. */
function newButton() {
  const name = $("class-name").value.trim();
  const there = S.project.labels.some((label) => label.toLowerCase() === name.toLowerCase());
  return !name || there ? [] : [h("button", { class: "new", onclick: () => make(name) }, `New class ${name}`)];
}

async function make(name) {
  try {
    const answer = await ask("api/class", { request: newId(), label: name });
    S.project.labels = answer.labels;
    S.progress = answer.progress;
    draw();
    take(answer.label);
  } catch (error) {
    toast(error.message);
    $("classes").close();
  }
}

function drawClasses() {
  const found = fitting(S.project.labels, $("class-name").value);
  $("class-list").replaceChildren(...found.map((label, n) =>
    h("button", { class: n ? "" : "main", onclick: () => take(label) }, label)),
    ...(found.length ? [] : [h("p", { class: "soft" }, "No class fits")]),
    ...newButton());
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
      $("class-list").querySelector("button:not(.new)")?.click();
    });
  }
  $("class-name").value = "";
  drawClasses();
  $("classes").showModal();
  $("class-name").focus();
}
