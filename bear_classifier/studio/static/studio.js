// The studio: from names of classes to a published classifier. This module starts it.
import { $, h } from "./parts.js";
import { drawBegin } from "./begin.js";
import { offerCommands } from "./commands.js";
import { drawJobbar } from "./jobbar.js";
import { drawProjects, leaveProjects } from "./projects.js";
import { drawRail } from "./rail.js";
import { S, on, readAddress } from "./store.js";
import { clean } from "./steps/clean.js";
import { learn } from "./steps/learn.js";
import { name } from "./steps/name.js";
import { photos } from "./steps/photos.js";
import { publish } from "./steps/publish.js";
import { unsent, wakeUp } from "./uploads.js";

const STEP = { name, photos, learn, clean, publish };
let shown = ""; // project and step that main holds

/** Put the step of the address into main, once there is a state to show. */
function drawStep() {
  const here = `${S.project} ${S.step}`;
  if (!S.project || !S.state) return;
  if (shown !== here) {
    shown = here;
    $("main").className = `step ${S.step}`;
    STEP[S.step].build($("main"), S.state);
  }
  STEP[S.step].update(S.state);
}

function drawMissing() {
  const token = S.missing.status === 401 || S.missing.status === 403;
  $("main").replaceChildren(h("div", { class: "end" },
    h("h1", {}, token ? "The studio asks for its password" : `There is no project ${S.project}`),
    h("p", { class: "soft" }, token ? "Open the address that bears studio printed: it holds the password." : S.missing.message),
    token ? null : h("p", {}, h("a", { href: "#" }, "All projects"))));
}

function route() {
  shown = "";
  leaveProjects();
  $("rail").hidden = !S.project;
  $("commands-open").hidden = !S.project;
  $("where").textContent = S.project && (S.state?.title || S.project);
  document.title = S.project ? `${S.state?.title || S.project}: Studio` : "Studio";
  $("main").className = "";
  if (S.missing) drawMissing();
  else if (S.project && S.state) drawStep();
  else if (S.project) $("main").replaceChildren(h("p", { class: "soft" }, `Opening ${S.project}`));
  else if (S.step === "new") drawBegin($("main"));
  else drawProjects($("main"));
  drawRail();
  drawJobbar();
}

on("route", route);
on("state", () => {
  const title = S.state.title || S.project;
  if ($("where").textContent !== title) $("where").textContent = title;
  document.title = `${title}: Studio`;
  drawRail();
  drawStep();
  drawJobbar();
});
on("link", () => {
  if (S.link === "open") wakeUp();
  drawJobbar();
});
on("uploads", () => {
  drawJobbar();
  if (S.state) drawStep();
});
addEventListener("hashchange", () => {
  readAddress();
  $("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("beforeunload", (event) => { if (unsent()) event.preventDefault(); });
$("skip").addEventListener("click", () => $("main").focus());

offerCommands();
readAddress();
