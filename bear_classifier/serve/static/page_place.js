// Where photos are looked at, on this device or on the server: it is said, a person may choose, and the
// choice is remembered. A page without a server has no choice to offer.
import { $, Trouble, megabytes, say } from "./page_parts.js";
import { S, failWaiting, askElsewhere } from "./page_ask.js";
import { alone, answerHere, engine, isHere, rememberPlace } from "./page_engine.js";
import { drawCamera } from "./page_camera.js";

let why = ""; // the model cannot run in this browser

function draw() {
  const here = isHere(), { corrections, on_device: offered } = S.about, size = S.model.device_bytes;
  $("place-box").hidden = alone || !(offered || why);
  $("place-other").hidden = !offered;
  $("place-box").classList.toggle("alarm", Boolean(why));
  say($("place-now"), here ? "Photos stay on this device." : `${why}Photos are sent to this server.`);
  $("place-other").textContent = here ? "Send them to this server" : `Keep them on this device (loads ${size ? megabytes(1e6 * Math.ceil(size / 1e6)) : "the model"} once)`;
  const kept = corrections ? "not kept, unless you send one as a correction" : "not kept";
  $("privacy").textContent = here ? "Your photos stay on this device: the model runs in this browser." : `Photos are ${kept}.`;
  if (here && corrections) $("privacy").textContent += " Only one that you send as a correction is kept by the server.";
  drawCamera();
}

function drawLoading({ bytes, all }) {
  $("loading").hidden = bytes >= all;
  $("loading").textContent = all ? `The model is coming: ${Math.floor(bytes / 1e6)} of ${Math.ceil(all / 1e6)} MB`
    : "The server makes the model ready for browsers, which happens once.";
}

let hears = false;
async function hear() {
  if (hears) return;
  hears = true;
  (await import("./page_device.js")).onLoading(drawLoading);
}

async function load() {
  const { model } = S;
  await hear();
  try {
    await engine.load(model.name);
  } catch (trouble) {
    if (!isHere() || S.model !== model) return;
    why = `The model cannot run in this browser: ${trouble.message.replace(/\.?$/, ".")} `;
    // first, so that no photo is sent that was to stay here
    failWaiting(trouble, new Trouble("NOT_ON_DEVICE", `${why}Try again to send the photo to this server.`, { again: true }));
    const back = engine;
    await answerHere(false);
    back.leave();
    $("loading").hidden = true;
    draw();
  }
}

async function change() {
  const before = engine;
  why = "";
  await answerHere(!isHere());
  rememberPlace();
  before.leave?.();
  if (!isHere()) $("loading").hidden = true;
  draw();
  askElsewhere();
  if (isHere()) await load();
}

/** A model was chosen: say where it answers, and load it where that is here. */
export async function placeModel() {
  if (alone) { draw(); hear(); return; }
  draw();
  if (isHere()) await load();
}

$("place-other").addEventListener("click", change);
