// A new project: classes by typing, from the bears, or from a folder or zip file of class folders.
import { h } from "./parts.js";
import { doing } from "./blocks.js";
import { adder, suggestions, typed } from "./class_list.js";
import { classesOf, filesChosen, filesDropped, isZip, namesInZip, readable } from "./dropped.js";
import { fromBears, fromDrawings } from "./projects.js";
import { ask, send } from "./requests.js";
import { goTo } from "./store.js";
import { add } from "./uploads.js";
import { list, photos } from "./words.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** A name for a project from its classes: letters, digits, - and _. */
const nameOf = (labels) => labels.join("-").normalize("NFKD").replace(/[^A-Za-z0-9-]+/g, "").replace(/^-+|-+$/g, "").slice(0, 40) || "photos";

/** Files by class, from a folder, several folders, or a zip file. Throws with a sentence. */
async function understood(files) {
  const zip = files.find(isZip);
  if (zip) {
    const paths = (await namesInZip(zip.file)).map((name) => name.split("/"));
    return counted(paths, classesOf(paths), { zip: zip.file });
  }
  const { photos: found, others } = readable(files);
  const labels = classesOf(found.map((one) => one.path));
  return counted(found.map((one) => one.path), labels, { files: found.map((one, n) => ({ ...one, label: labels[n] })), others: others.length });
}

function counted(paths, labels, rest) {
  const n = new Map();
  for (const label of labels) if (label) n.set(label, (n.get(label) || 0) + 1);
  if (n.size < 2) {
    throw new Error(n.size ? `There is only one class folder, ${[...n.keys()][0]}. A classifier needs at least two: a folder for each class, with its photos in it.`
      : "There are no class folders with photos in it. Put the photos of each class into a folder named like the class.");
  }
  return { n, without: labels.filter((label) => !label).length, ...rest };
}

export function drawBegin(root) {
  const classes = new Map(); // label -> its queries, as text
  let folder = null, named = false;

  const rows = h("ul", { class: "classes", "aria-label": "Classes" }), found = h("p", { class: "found", role: "status" });
  const name = h("input", { id: "project-name", type: "text", autocomplete: "off", spellcheck: "false", maxlength: 64, oninput: () => { named = true; } });
  const create = doing("Create the project", make, { class: "main", "data-focus": "create" });

  function drawRows() {
    rows.replaceChildren(...[...classes].map(([label, text], n) => h("li", {},
      h("div", {}, h("strong", {}, label), h("button", { type: "button", "aria-label": `Take out ${label}`, onclick: () => { classes.delete(label); drawRows(); } }, "Take out")),
      h("label", { for: `queries-${n}` }, "What to search for, with commas between"),
      h("input", { id: `queries-${n}`, type: "text", value: text, oninput: (event) => classes.set(label, event.target.value) }))));
    if (!named) name.value = classes.size ? nameOf([...classes.keys()]) : "";
  }

  async function addClass(label) {
    if ([...classes.keys()].some((one) => one.toLowerCase() === label.toLowerCase())) throw new Error(`There is a class ${label} already.`);
    classes.set(label, label);
    drawRows();
    const queries = await suggestions(label);
    if (classes.get(label) === label && queries.length) classes.set(label, queries.slice(0, 2).join(", "));
    drawRows();
  }

  /** Make the project, then send what was dropped. */
  async function make() {
    if (!folder?.zip && classes.size < 2) throw new Error("Name at least two classes: a classifier decides between them.");
    if (!NAME.test(name.value)) throw new Error("The name of the project becomes a folder: letters, digits, - and _, beginning with a letter or digit.");
    const queries = Object.fromEntries([...classes].map(([label, text]) => [label, typed(text).length ? typed(text) : [label]]));
    if (folder?.zip) {
      found.textContent = `Sending ${folder.zip.name}`;
      const begun = await send(`api/from-zip?${new URLSearchParams({ name: name.value })}`, folder.zip, (part) => { found.textContent = `Sending ${folder.zip.name}: ${Math.round(100 * part)}%`; });
      goTo(begun.id, "photos");
      return;
    }
    const made = await ask("api/projects", { name: name.value, classes: queries, begin: "empty" });
    if (folder?.files) {
      for (const label of ["", ...classes.keys()]) {
        const own = folder.files.filter((one) => one.label === label);
        if (own.length) add(made.id, label, own.map((one) => ({ file: one.file, name: one.path.join("/") })));
      }
    }
    goTo(made.id, "photos");
  }

  async function takeFolder(files) {
    try {
      folder = await understood(files);
      classes.clear();
      if (!folder.zip) for (const label of folder.n.keys()) classes.set(label, label);
      drawRows();
      if (folder.zip && !named) name.value = nameOf([...folder.n.keys()]);
      const parts = [...folder.n].map(([label, n]) => `${n} of ${label}`);
      found.textContent = `Found ${list(parts)}.${folder.without ? ` ${photos(folder.without)} lie in no class folder and come in without a class.` : ""}`
        + `${folder.others ? ` ${folder.others} other files are left out.` : ""} They are sent when you create the project.`;
      found.className = "found";
    } catch (error) {
      folder = null;
      found.textContent = error.message;
      found.className = "found trouble";
    }
  }

  const chooser = (words, facts) => {
    const input = h("input", { type: "file", hidden: true, "aria-label": words, ...facts });
    input.addEventListener("change", () => takeFolder(filesChosen(input)));
    return [h("button", { type: "button", onclick: () => input.click() }, words), input];
  };
  const zone = h("div", { class: "zone" }, h("p", { class: "call" }, "Drop a folder or a zip file here"),
    h("p", { class: "soft" }, "It holds one folder for each class, with its photos in it."),
    h("div", { class: "tools" }, ...chooser("Choose a folder", { webkitdirectory: true }), ...chooser("Choose a zip file", { accept: ".zip" })), found);
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => { event.preventDefault(); await takeFolder(await filesDropped(event.dataTransfer)); });

  root.replaceChildren(h("h1", {}, "What shall it tell apart?"),
    h("p", { class: "lede" }, "A classifier looks at a photo and says which of your classes it shows. Name at least two; you can add more later."),
    h("div", { class: "begin" },
      h("section", { class: "card", "aria-labelledby": "by-name" }, h("h2", { id: "by-name" }, "Type the names"), adder(addClass), rows,
        h("div", { class: "field" }, h("label", { for: "project-name" }, "Name of the project"), name,
          h("p", { class: "soft small" }, "It becomes a folder on this computer. Letters, digits, - and _.")),
        h("div", { class: "tools" }, create)),
      h("div", { class: "others" },
        h("section", { class: "card", "aria-labelledby": "by-folder" }, h("h2", { id: "by-folder" }, "Or from a folder that you have"), zone),
        h("section", { class: "card", "aria-labelledby": "by-bears" }, h("h2", { id: "by-bears" }, "Or begin from the bears"),
          h("p", {}, "Grizzly, black bear and teddy, with what to search for. A good first try: the photos come by a search of the web."),
          h("div", { class: "tools" }, doing("Begin from the bears", fromBears)),
          h("p", {}, "No photos and no network? Try every step with bears that code draws."),
          h("div", { class: "tools" }, doing("Begin from drawn bears", fromDrawings))))));
}
