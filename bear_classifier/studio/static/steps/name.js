// The first step of a project that is there: its classes, what is searched for, and the project itself.
import { h } from "../parts.js";
import { block, doing, question } from "../blocks.js";
import { adder, suggestions, typed } from "../class_list.js";
import { ask, of } from "../requests.js";
import { S, address, goTo } from "../store.js";
import { renamed } from "../uploads.js";
import { photos } from "../words.js";

const change = (body) => ask(of(S.project, "classes"), body);

async function addClass(label) {
  await change({ add: label });
  const queries = (await suggestions(label)).slice(0, 2);
  if (queries.length) await change({ queries: { [label]: queries } });
}

async function takeOut(label) {
  const n = S.state.photos.by_class[label]?.usable || 0;
  const sure = await question(`Take ${label} out?`, [
    n ? `Its ${photos(n)} stay on the disk and are used no more. The class can be added again.` : "It has no photos yet.",
    "The next training makes a model without it."], [["yes", `Take ${label} out`, "main"]]);
  if (sure) await change({ remove: label });
}

function drawClasses(root, state) {
  const facts = state.labels.map((label) => [label, state.queries?.[label] || []]);
  const typing = new Map([...root.querySelectorAll("input")].filter((one) => one.value !== one.defaultValue).map((one) => [one.dataset.focus, one.value]));
  block(root, facts, () => facts.map(([label, queries], at) => {
    const field = h("input", { id: `queries-${at}`, type: "text", value: queries.join(", "), "data-focus": `queries ${label}` });
    field.value = typing.get(field.dataset.focus) ?? field.value; // what is not saved yet stays
    return h("li", {}, h("div", {}, h("strong", {}, label), h("span", { class: "soft count" }),
      state.labels.length > 2 ? doing("Take out", () => takeOut(label), { "aria-label": `Take out ${label}`, "data-focus": `out ${label}` }) : null),
    h("label", { for: `queries-${at}` }, "What to search for, with commas between"),
    h("div", { class: "line" }, field, doing("Save", () => change({ queries: { [label]: typed(field.value) } }), { "aria-label": `Save what to search for ${label}`, "data-focus": `save ${label}` })));
  }));
  root.querySelectorAll(".count").forEach((one, at) => { one.textContent = photos(state.photos.by_class[state.labels[at]]?.usable || 0); });
}

async function rename(field) {
  const old = S.project, { id } = await ask(of(old, "rename"), { name: field.value.trim() });
  renamed(old, id);
  goTo(id, "name");
}

async function remove() {
  const sure = await question(`Delete ${S.state.title || S.project}?`, "The project goes into the bin, with its photos and models. From there it can be brought back.", [["yes", "Into the bin", "main"]]);
  if (!sure) return;
  await ask(of(S.project, "delete"), { request: S.project });
  location.hash = "";
}

let classes = null;

export const name = {
  build(root, state) {
    classes = h("ul", { class: "classes", "aria-label": "Classes" });
    const field = h("input", { id: "rename", type: "text", autocomplete: "off", spellcheck: "false", maxlength: 64, value: state.title || S.project });
    root.replaceChildren(h("h1", {}, "What it tells apart"),
      h("p", { class: "lede" }, "The classes, and what is searched for to find photos of each."),
      h("div", { class: "begin" },
        h("section", { class: "card", "aria-labelledby": "classes-title" }, h("h2", { id: "classes-title" }, "Classes"), classes, adder(addClass)),
        h("section", { class: "card others", "aria-labelledby": "project-title" }, h("h2", { id: "project-title" }, "The project"),
          h("div", { class: "field" }, h("label", { for: "rename" }, "Name"), h("div", { class: "line" }, field, doing("Rename", () => rename(field)))),
          h("p", { class: "soft small" }, `It lies in ${state.folder}, where the command line opens it, too.`),
          h("div", { class: "tools" }, h("a", { class: "button", href: of(S.project, "download"), download: "" }, "Download it as a zip file"), doing("Delete", remove)),
          h("p", { class: "soft small" }, "The zip file holds the settings, the photos and all decisions."))),
      h("div", { class: "tools onward" }, h("a", { class: "button main", href: address(S.project, "photos") }, "On to the photos")));
  },
  update(state) {
    drawClasses(classes, state);
  },
};
