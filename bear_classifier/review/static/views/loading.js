// What stands where something is fetched or cannot be had.
import { $, h } from "../dom.js";

export function showLoading(words) {
  $("main").replaceChildren(h("div", { class: "end", "data-loading": "1" }, h("p", { class: "soft", role: "status" }, words)));
}

export function showError(error, again) {
  $("main").replaceChildren(h("div", { class: "end" }, h("h2", {}, "This view cannot be shown"),
    h("p", { class: "soft" }, error.message), h("button", { onclick: again }, "Try again")));
}
