// One photo: what it is, how sure that is, why, and the way to say that it is wrong.
import { $, Trouble, capital, h, percent, rail, say } from "./page_parts.js";
import { S, aboutModels, askAgain, correct, explain, giveUp } from "./page_ask.js";
import { uprightJpeg } from "./page_upright.js";

let shown = null; // the photo whose picture is on the page, and its address there
let address = "";
let ticking = 0;

export const refused = (answer) => !answer.accepted && answer.reason === "unlike_training";

const safe = (image) => typeof image === "string" && image.startsWith("data:image/");
export const ranked = (answer) => Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);

function release() {
  if (address) URL.revokeObjectURL(address);
  address = "";
}

function showFile(file) {
  address = URL.createObjectURL(file);
  $("photo").src = address;
}

/** What the browser does not show by itself, as the JPEG that was made of it. */
async function showUpright(item) {
  const jpeg = await uprightJpeg(item.file, aboutModels).catch(() => null);
  if (shown !== item) return;
  release();
  $("photo").onerror = null;
  if (jpeg) { showFile(jpeg); return; }
  $("unseen").hidden = false;
  $("unseen").textContent = `This browser cannot show ${item.name}.`;
}

function drawPhoto(item) {
  if (shown === item) return;
  release();
  shown = item;
  closePanels();
  $("said").replaceChildren();
  const [image, unseen] = [$("photo"), $("unseen")];
  image.hidden = true;
  unseen.hidden = true;
  image.onload = () => { image.hidden = false; };
  image.onerror = () => showUpright(item);
  image.alt = `Your photo: ${item.name}`;
  showFile(item.file);
  $("name").textContent = item.name;
  $("name").title = item.name;
}

/** The server's sentence; the class stands out, and leads where the sentence begins with it. */
function worded({ sentence, label, accepted }) {
  const at = sentence.toLowerCase().indexOf(label.toLowerCase());
  if (!accepted || at < 0) return [sentence];
  const to = at + label.length + /^[,.:]?/.exec(sentence.slice(at + label.length))[0].length;
  return [sentence.slice(0, at), h("strong", { class: at ? "" : "lead" }, sentence.slice(at, to)), sentence.slice(to)];
}

function bars(answer) {
  return ranked(answer).map(([label, p], n) => h("div", { class: n ? "bar" : "bar best" },
    h("span", { class: "label", title: label, "aria-hidden": "true" }, capital(label)), rail(label, p),
    h("span", { class: "value", "aria-hidden": "true" }, percent(p))));
}

function drawBars(item) {
  const { answer } = item;
  const key = answer && JSON.stringify([item.id, answer.probabilities, refused(answer)]);
  if ($("bars").dataset.of === (key || "")) return;
  $("bars").dataset.of = key || "";
  if (!answer) { $("bars").replaceChildren(); return; }
  const own = [h("p", { class: "small soft" }, "How likely each class is, calibrated on photos that it did not learn from."), ...bars(answer)];
  $("bars").replaceChildren(...(refused(answer) ? [h("details", {}, h("summary", {}, "What it would have said"),
    h("p", { class: "small soft" }, "These figures mean little for a photo unlike those it learned from."), ...bars(answer))] : own));
}

function drawTrouble(item) {
  const { trouble } = item;
  clearInterval(ticking);
  $("trouble-box").hidden = !trouble;
  say($("trouble"), trouble ? trouble.message : "");
  if (!trouble) return;
  const pausing = item.state === "pausing";
  $("again").hidden = !trouble.again || item.state === "asking";
  $("again").textContent = pausing ? "Try now" : "Try again";
  $("give-up").hidden = !pausing;
  $("request").textContent = trouble.request ? `Request ${trouble.request}` : "";
  const tick = () => {
    const left = Math.max(0, Math.ceil((item.until - Date.now()) / 1000));
    $("countdown").textContent = pausing ? `Trying again in ${left} s.` : "";
  };
  tick();
  if (pausing) ticking = setInterval(tick, 250);
}

function drawAnswer(item) {
  const { answer, state } = item;
  $("one").dataset.state = state;
  $("one").setAttribute("aria-busy", state === "asking");
  $("verdict").classList.toggle("unsure", Boolean(answer && !answer.accepted));
  if (answer && state === "answered") say($("said"), ...worded(answer));
  else if (state === "asking") say($("said"), "Looking");
  else if (state === "waiting") say($("said"), "Waiting for its turn");
  else say($("said"), state === "pausing" ? "Waiting" : "No answer");
  const sending = state === "asking" && item.sent > 0 && item.sent < 1;
  $("said").dataset.sent = sending ? `${Math.round(100 * item.sent)} % sent` : "";
  const done = state === "answered";
  $("doing").hidden = !done;
  $("wrong").hidden = !S.about?.corrections || Boolean(item.correction);
  say($("thanks"), item.correction ? `Thank you. The photo and your answer, ${item.correction}, are stored.` : "");
}

export function drawOne() {
  const item = S.open;
  $("one").hidden = !item;
  if (!item) { clearInterval(ticking); release(); shown = null; return; }
  drawPhoto(item);
  drawAnswer(item);
  drawTrouble(item);
  drawBars(item);
  if (item.state !== "answered") closePanels();
}

// -- why ---------------------------------------------------------------------------------------

function showPanel(name, on) {
  $(`${name}-panel`).hidden = !on;
  $(name).setAttribute("aria-expanded", on);
}

/** Close what is open beside the answer, and go back to its button; returns whether there was one. */
export function closePanels(focus = false) {
  const open = ["wrong", "why"].find((name) => !$(`${name}-panel`).hidden);
  for (const name of ["wrong", "why"]) showPanel(name, false);
  if (open && focus) $(open).focus();
  return Boolean(open);
}

function picture(image, alt, ...caption) {
  return safe(image) && h("figure", {}, h("img", { src: image, alt, draggable: "false" }), h("figcaption", {}, ...caption));
}

function origin(one) {
  const link = /^https?:\/\//.test(one.source || "");
  const about = one.about || "source";
  return link ? h("a", { href: one.source, target: "_blank", rel: "noopener noreferrer" }, about) : one.about || "";
}

function reasons(item) {
  const { maps, photo, similar } = item.why;
  const pictures = [
    picture(photo, "The square that the model saw", "What the model saw: the middle of the photo"),
    ...maps.map((map) => picture(map.image, `Where the photo speaks for ${map.label}, in orange, and against it, in blue`,
      "For and against ", h("b", {}, map.label))),
  ].filter(Boolean);
  const near = similar.map((one) => picture(one.image, `Training photo labelled ${one.label}`, h("b", {}, capital(one.label)), " ", origin(one))).filter(Boolean);
  return [
    pictures.length > 0 && h("div", { class: "maps" }, ...pictures),
    maps.length > 0 && h("p", { class: "legend" }, h("span", {}, "Blue speaks against"),
      h("span", { class: "scale", "aria-hidden": "true" }), h("span", {}, "Orange speaks for")),
    near.length > 0 && h("h3", {}, "The most similar photos that it learned from"),
    near.length > 0 && h("div", { class: "near" }, ...near),
    !pictures.length && !near.length && h("p", {}, "This model cannot show why."),
  ].filter(Boolean);
}

async function why(item) {
  if (!$("why-panel").hidden) { closePanels(true); return; }
  closePanels();
  showPanel("why", true);
  const refusal = refused(item.answer);
  const title = h("h2", { id: "why-title" }, refusal ? "What it saw" : `Why ${item.answer.label}?`);
  const state = h("p", { class: "soft", role: "status" }, "Looking for what spoke for it");
  $("why-panel").replaceChildren(title, ...(item.why ? reasons(item) : [state]));
  if (!item.why) {
    try {
      await explain(item);
    } catch (trouble) {
      if (S.open === item) $("why-panel").replaceChildren(title, failure(trouble, () => { closePanels(); why(item); }));
      return;
    }
    if (S.open !== item || !item.why || $("why-panel").hidden) return;
    $("why-panel").replaceChildren(title, ...reasons(item));
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("why-panel").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

function failure(trouble, again) {
  return h("div", { class: "note" }, h("p", { role: "alert" }, trouble.message),
    trouble.request && h("p", { class: "small soft" }, `Request ${trouble.request}`),
    h("button", { type: "button", onclick: again }, "Try again"));
}

// -- that's wrong ------------------------------------------------------------------------------

/** Every class but the one that it gave as its answer; "none of these", unless it said so. */
function wrong(item) {
  if (!$("wrong-panel").hidden) { closePanels(true); return; }
  closePanels();
  const refusal = refused(item.answer);
  const all = S.model.labels || Object.keys(item.answer.probabilities);
  const nothing = all.includes("none") ? "_none" : "none"; // of the classes, one of which may be called so
  const labels = all.filter((label) => !item.answer.accepted || label !== item.answer.label);
  const choices = [...labels.map((label) => [label, capital(label)]), ...(refusal ? [] : [[nothing, "None of these"]])];
  const send = h("button", { type: "button", class: "main", disabled: true }, "Send and store the photo");
  const radios = choices.map(([value, text]) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "right", value, onchange: () => { send.disabled = false; } }), h("span", {}, text)));
  const note = h("div");
  send.addEventListener("click", async () => {
    const right = $("wrong-panel").querySelector("input:checked").value;
    send.disabled = true;
    try {
      await correct(item, right);
    } catch (trouble) {
      note.replaceChildren(h("p", { class: "note", role: "alert" }, trouble.message));
      send.disabled = false;
      return;
    }
    item.correction = right === nothing ? "none of these" : right;
    if (S.open !== item) return;
    showPanel("wrong", false);
    drawAnswer(item);
    $("why").focus();
  });
  $("wrong-panel").replaceChildren(
    h("fieldset", {}, h("legend", {}, "What is it?"), h("div", { class: "choices" }, ...radios)),
    h("p", { class: "small" }, "The photo and your answer will be stored on this server, so that the model can learn from them. "
      + "Nothing is stored unless you send it."),
    note, h("div", { class: "tools" }, send, h("button", { type: "button", onclick: () => closePanels(true) }, "Cancel")));
  showPanel("wrong", true);
  radios[0].firstChild.focus();
}

$("why").addEventListener("click", () => why(S.open));
$("wrong").addEventListener("click", () => wrong(S.open));
$("again").addEventListener("click", () => (S.open.state === "pausing" ? S.open.hurry() : askAgain([S.open])));
$("give-up").addEventListener("click", () => giveUp(S.open));
