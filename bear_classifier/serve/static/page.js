// The page for people: takes photos in, and shows one answer or a table of them.
import { $, h, isSystemFile, isSystemFolder, megabytes, plural, say, whole } from "./page_parts.js";
import { S, add, askAgain, askAllAgain, askModels, askNow, onChange, start, stop } from "./page_ask.js";
import { closePanels, drawOne } from "./page_answer.js";
import { drawMany, drawProgress, drawRow, forgetRows, onOpen, rowOf } from "./page_batch.js";
import { offerCamera } from "./page_camera.js";
import { offerExamples } from "./page_examples.js";
import { placeModel } from "./page_place.js";
import "./page_share.js";

const MOST = 200; // photos in the list, until the server has said how many

// -- what is shown -----------------------------------------------------------------------------

function draw() {
  document.body.dataset.view = S.open ? "one" : S.items.length ? "many" : "empty";
  drawOne();
  drawMany();
  const n = S.items.indexOf(S.open), of = S.items.length;
  $("among").hidden = of < 2;
  $("back").textContent = `All ${of} photos`;
  $("place").textContent = `${n + 1} of ${of}`;
  $("earlier").disabled = n < 1;
  $("later").disabled = n === of - 1;
}

/** Open one photo. As a step that the browser's Back takes back, if it came from the table. */
function open(item, step = false) {
  S.open = item;
  const state = { photo: item.id, step: step || Boolean(history.state?.step) };
  if (step) history.pushState(state, "");
  else history.replaceState(state, "");
  draw();
  if (S.stopped) askNow(item);
  else start();
}

function close() {
  if (history.state?.step) { history.back(); return; } // popstate shows the table
  history.replaceState(null, "");
  toTable();
}

function toTable() {
  const left = S.open;
  S.open = null;
  draw();
  const button = rowOf(left)?.querySelector("button");
  if (button) button.focus();
}

window.addEventListener("popstate", (event) => {
  const item = S.items.find((one) => one.id === event.state?.photo);
  if (!item && S.items.length > 1) { toTable(); return; }
  S.open = item || S.items[0] || null;
  draw();
});

onOpen((item, byKey) => {
  open(item, true);
  $("back").focus({ focusVisible: byKey });
  window.scrollTo(0, 0);
});
onChange((item) => {
  drawRow(item);
  drawProgress();
  if (item === S.open) drawOne();
});

// -- photos come in ----------------------------------------------------------------------------

function note(text, again = null) {
  $("note-box").hidden = !text;
  say($("note"), text);
  $("note-again").hidden = !again;
  $("note-again").onclick = again;
}

function take(files) {
  if (!files.length) return;
  const most = S.about?.limits.photos || MOST;
  const room = Math.max(0, most - S.items.length);
  const left = files.length - room;
  note(left > 0 ? `At most ${most} photos at a time: ${plural(left, "photo")} of ${files.length} ${left === 1 ? "is" : "are"} left out. `
    + "Clear the list to go on with them." : "");
  const items = add(files.slice(0, room));
  if (!items.length) return;
  if (items.length === 1) open(items[0]);
  else { S.open = null; history.replaceState(null, ""); draw(); start(); }
  if (!S.about) begin();
}

/** All files of a dropped folder, at any depth, but for what systems leave there. */
async function unfold(entry) {
  if (entry.isFile ? isSystemFile(entry.name) : isSystemFolder(entry.name)) return [];
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const reader = entry.createReader(), found = [];
  for (;;) { // a reader gives at most 100 at a time, and nothing at the end
    const part = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!part.length) break;
    for (const one of part) found.push(...await unfold(one));
  }
  return found;
}

const photosOf = (files) => [...files].filter((file) => !isSystemFile(file.name));

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = photosOf(transfer.files);
  if (!entries.some((entry) => entry.isDirectory)) return files;
  return (await Promise.all(entries.map(unfold))).flat();
}

const carries = (event) => [...(event.dataTransfer?.types || [])].some((type) => type === "Files" || type === "text/uri-list");
let over = 0; // enter and leave come in pairs, for every element below the pointer

document.addEventListener("dragenter", (event) => {
  if (carries(event)) { over += 1; document.body.classList.add("dropping"); }
});
document.addEventListener("dragleave", (event) => {
  if (carries(event)) { over = Math.max(0, over - 1); document.body.classList.toggle("dropping", over > 0); }
});
document.addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
});
document.addEventListener("drop", async (event) => {
  over = 0;
  document.body.classList.remove("dropping");
  if (!event.dataTransfer) return;
  event.preventDefault();
  try {
    const some = [...event.dataTransfer.types].includes("Files"); // as it is gone after the first wait
    const files = await dropped(event.dataTransfer);
    if (files.length) take(files);
    else note(some ? "There is no photo in what was dropped." : "That was not a file. Save the picture first, then drop it here.");
  } catch {
    note("What was dropped cannot be read. Choose the photos instead.");
  }
});

let pasted = 0;
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (!files.length) { note("The clipboard holds no picture."); return; }
  take(files.map((file) => (file.name === "image.png" ? new File([file], `pasted ${(pasted += 1)}.png`, { type: file.type }) : file)));
});

$("zone").addEventListener("click", () => $("files").click());
for (const input of [$("files"), $("snap")]) {
  input.addEventListener("change", () => {
    take(photosOf(input.files));
    input.value = ""; // the same file can be chosen again
  });
}
offerCamera((file) => take([file]));

// -- buttons and keys --------------------------------------------------------------------------

$("back").addEventListener("click", close);
$("earlier").addEventListener("click", () => open(S.items[S.items.indexOf(S.open) - 1]));
$("later").addEventListener("click", () => open(S.items[S.items.indexOf(S.open) + 1]));
$("note-close").addEventListener("click", () => { note(""); $("zone").focus(); });
$("clear").addEventListener("click", () => {
  stop();
  S.items = [];
  S.stopped = false;
  forgetRows();
  note("");
  draw();
  $("zone").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || $("camera-box").open) return;
  if (closePanels(true)) return;
  if (!$("note-box").hidden) note("");
  else if (S.open && S.items.length > 1) close();
});

// -- models ------------------------------------------------------------------------------------

function choose(name) {
  const { models, limits } = S.about;
  S.model = models.find((model) => model.name === name) || models.find((model) => model.default) || models[0];
  const { title, figures, card } = S.model;
  document.title = title;
  $("title").textContent = title;
  $("figures").textContent = whole(figures || "");
  $("bounds").textContent = S.model.limits || "";
  $("card").hidden = !card;
  if (card) $("card").href = card;
  offerExamples(S.model.examples, (file) => take([file]));
  $("limits").textContent = `One photo or up to ${limits.photos}, each at most ${megabytes(limits.bytes)}.`;
  placeModel();
}

async function begin() {
  try {
    S.about = await askModels();
  } catch (trouble) {
    note(trouble.message, () => { note(""); begin(); askAgain(S.items.filter((item) => item.trouble?.again)); });
    return;
  }
  choose();
  const { models, device, published } = S.about;
  if (device) {
    $("lede").textContent = "Show it a photo. The answer comes at once, and the photo stays on this device.";
    (await import("./page_offline.js")).workOffline(published);
  }
  $("model-box").hidden = models.length < 2;
  const alike = ({ title }) => models.filter((other) => other.title === title).length > 1;
  const named = (one) => (alike(one) ? `${one.name}: ${one.title}` : one.title || one.name);
  $("model").replaceChildren(...models.map((one) => h("option", { value: one.name, selected: one.name === S.model.name }, named(one))));
  if (S.items.length) draw();
}

$("model").addEventListener("change", () => { choose($("model").value); closePanels(); askAllAgain(); });
if (/Mac|iPhone|iPad/.test(navigator.platform)) $("paste-key").textContent = "⌘V";
begin();
