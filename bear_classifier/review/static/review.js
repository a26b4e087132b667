// The review page: keep, drop or relabel photos. This module starts it.
import { $, h } from "./dom.js";
import { unconfirm } from "./decide.js";
import "./frame.js";
import { listen } from "./keys.js";
import { drain, markAll, takeUp } from "./outbox.js";
import { chooseFilter, load } from "./queue.js";
import { ask, signedBy } from "./server.js";
import { S, addView, draw, readHash, view } from "./state.js";
import { alike } from "./views/alike.js";
import { gallery } from "./views/gallery.js";
import { grid } from "./views/grid.js";
import { groups } from "./views/groups.js";
import { map } from "./views/map.js";
import { label } from "./views/label.js";
import { one } from "./views/one.js";
import { startWho, whoName } from "./who.js";

[one, grid, groups, map, alike, gallery, label].forEach(addView);

async function start() {
  try {
    const at = readHash();
    S.project = await ask("api/project");
    if (S.project.unranked && !location.hash.includes("view=")) S.view = "gallery";
    document.title = `Review: ${S.project.name}`;
    $("name").textContent = `Review ${S.project.name}`;
    for (const name of Object.keys(S.filter)) {
      $(`f-${name}`).addEventListener("change", (event) => { unconfirm(); chooseFilter({ [name]: event.target.value }); });
    }
    $("many").value = S.many;
    $("many").addEventListener("change", (event) => { S.many = Number(event.target.value); draw(); });
    signedBy(whoName);
    startWho();
    listen();
    takeUp();
    await load(at);
    markAll();
    view().enter?.(null, at);
    draw();
    drain();
  } catch (error) {
    $("main").replaceChildren(h("div", { class: "end" }, h("h2", {}, "The page cannot start"),
      h("p", { class: "soft" }, error.message), h("button", { onclick: () => location.reload() }, "Try again")));
  }
}

start();
