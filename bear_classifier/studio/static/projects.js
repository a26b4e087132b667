// All projects: open one, begin another, bring one back from the bin.
import { $, h } from "./parts.js";
import { block, doing } from "./blocks.js";
import { ask, of, startJob } from "./requests.js";
import { address, goTo } from "./store.js";
import { between, list, moment, photos, share } from "./words.js";

const EVERY = 3000; // milliseconds: how old the list may be
let timer = 0;

export function leaveProjects() {
  clearTimeout(timer);
  timer = 0;
}

function card(row) {
  if (row.fault) return h("li", {}, h("div", { class: "card project alarm" }, h("h2", {}, row.title || row.id), h("p", {}, row.fault)));
  const doingNow = row.job === "waiting" ? "Work waits for its turn" : row.job ? "Work is going on" : "";
  return h("li", {}, h("a", { class: "card project", href: address(row.id, row.error == null && !row.usable ? "photos" : "learn"), "data-focus": row.id },
    row.photo && h("img", { src: of(row.id, `photo/${row.photo}?size=400`), alt: "", loading: "lazy" }),
    h("h2", {}, row.title || row.id),
    h("p", { class: "soft" }, row.labels.length > 6 ? `${row.labels.length} classes` : list(row.labels)),
    h("p", {}, photos(row.usable), row.error == null ? ", no model yet" : `, wrong on ${row.interval ? `${share(row.error)} (95% interval ${between(row.interval)}, measured on ${photos(row.n)})` : share(row.error)}`),
    h("p", { class: "soft small" }, doingNow || (row.changed ? `Last changed ${moment(row.changed)}` : ""))));
}

const binned = (row, again) => h("li", {}, h("span", {}, row.title || row.id, row.deleted ? h("span", { class: "soft" }, `, deleted ${moment(row.deleted)}`) : null),
  doing("Bring it back", async () => {
    await ask(`api/bin/${encodeURIComponent(row.id)}/restore`, { request: row.id });
    await again();
  }, { "data-focus": `restore ${row.id}` }));

function drawList(root, found, again) {
  block(root, found, () => [
    h("div", { class: "head" }, h("div", {}, h("h1", {}, found.projects.length ? "Your projects" : "Teach a computer what is in a photo"),
      found.projects.length ? null : h("p", { class: "lede" }, "Name a few classes, show photos of each, and the studio makes a classifier that says how far it can be trusted. Nothing has to be installed or programmed.")),
    h("div", { class: "tools" }, h("a", { class: "button main", href: "#step=new", "data-focus": "new" }, found.projects.length ? "New project" : "Begin"),
      found.projects.length ? null : doing("Begin from the bears", () => fromBears()))),
    found.projects.length ? h("ul", { class: "cards" }, ...found.projects.map(card))
      : h("ol", { class: "way" }, ...[
        ["Name", "The classes, such as grizzly, black and teddy."], ["Photos", "From your files, a camera, or a search of the web."],
        ["Learn", "One button. A first model within about a minute for 300 photos."], ["Clean", "Look at the photos that are probably labelled wrong."],
        ["Publish", "Try it, and take it with you as a page that needs no server."]].map(([title, words]) => h("li", {}, h("h2", {}, title), h("p", { class: "soft" }, words)))),
    found.bin.length ? h("details", {}, h("summary", {}, `Bin (${found.bin.length})`), h("ul", { class: "bin" }, ...found.bin.map((row) => binned(row, again)))) : null,
    h("p", { class: "soft small reach" }, found.who_can_reach, found.folder ? ` The projects lie in ${found.folder}.` : ""),
  ]);
}

/** Make a project of bears that code draws, and open it. */
export async function fromDrawings() {
  const made = await ask("api/projects", { begin: "drawn" });
  await startJob(made.id, "draw");
  goTo(made.id, "photos");
}

/** Make the project of the bears and open it. */
export async function fromBears() {
  const made = await ask("api/projects", { begin: "bears" });
  goTo(made.id, "photos");
}

export function drawProjects(root) {
  const box = h("div", { class: "projects" }, h("p", { class: "soft" }, "Reading the projects"));
  root.replaceChildren(box);
  async function again() {
    clearTimeout(timer);
    try {
      const found = await ask("api/projects");
      if (!box.isConnected) return;
      drawList(box, found, again);
    } catch (error) {
      if (!box.isConnected) return;
      const token = error.status === 401 || error.status === 403;
      block(box, error.message, () => h("div", { class: "end" }, h("h1", {}, token ? "The studio asks for its password" : "The studio does not answer"),
        h("p", { role: "alert" }, token ? "Open the address that bears studio printed: it holds the password." : error.message)));
    }
    timer = setTimeout(again, EVERY);
  }
  again();
  $("commands-open").hidden = true;
}
