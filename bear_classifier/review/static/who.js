// Who decides: a name that is asked for once and kept in this browser; it goes with every decision.
import { $, h } from "./dom.js";
import { S } from "./state.js";

const KEY = "bears-who";

export const whoName = () => localStorage.getItem(KEY) || "";

function keep(name) {
  localStorage.setItem(KEY, name.trim() || S.project.who);
  $("who").hidden = true;
  drawWho();
  $("main").focus();
}

function ask() {
  const input = h("input", { id: "who-name", maxlength: 100, autocomplete: "name", value: whoName() || S.project.who, "aria-label": "Your name" });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") keep(input.value); });
  $("who").replaceChildren(h("label", { for: "who-name" }, "Who decides? "), input,
    h("button", { onclick: () => keep(input.value) }, "That is me"));
  $("who").hidden = false;
  return input;
}

/** In the help: the name, and how to change it. */
export function drawWho() {
  $("who-is").replaceChildren(`Your decisions are by ${whoName() || S.project.who}. `, h("button", { onclick: () => {
    $("help").close();
    ask().select();
  } }, "Another name"));
}

/** Ask for it unless it is known. */
export function startWho() {
  drawWho();
  if (!whoName()) ask();
}
