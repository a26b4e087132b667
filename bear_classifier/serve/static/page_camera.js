// A photo from the camera: a phone's own camera application, or the picture of a desk's camera; where
// the model is in this browser, with an answer to what the camera sees.
import { $, capital, h, percent, rail, say } from "./page_parts.js";
import { S } from "./page_ask.js";
import { engine } from "./page_engine.js";
import { steady } from "./page_live.js";

const byHand = () => matchMedia("(pointer: coarse)").matches && !engine.frame;
let taken = () => {};
let stream = null;
let count = 0;
let live = 0; // number of the session that is looked at; 0: none

const WHY = {
  NotAllowedError: "This page may not use the camera. The settings of the browser decide that.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is used by another program.",
};

async function open() {
  if (byHand()) { $("snap").click(); return; }
  $("camera-note").textContent = "";
  $("shoot").disabled = true;
  $("camera-box").showModal();
  try {
    const found = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "environment" } });
    if (!$("camera-box").open) { found.getTracks().forEach((track) => track.stop()); return; }
    stream = found;
    $("video").srcObject = stream;
    await $("video").play();
    $("shoot").disabled = false;
    $("shoot").focus();
    if (engine.frame) watch();
  } catch (error) {
    $("camera-note").textContent = WHY[error.name] || `The camera cannot be used (${error.message}).`;
  }
}

// -- live --------------------------------------------------------------------------------------

function drawLive(answer) {
  say($("live-said"), answer.sentence);
  $("live").classList.toggle("unsure", !answer.accepted);
  const known = answer.reason !== "unlike_training";
  const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 3);
  $("live-bars").replaceChildren(...(known ? ranked.map(([label, p]) => h("div", { class: label === answer.label ? "bar best" : "bar" },
    h("span", { class: "label", "aria-hidden": "true" }, capital(label)), rail(label, p),
    h("span", { class: "value", "aria-hidden": "true" }, percent(p)))) : []));
}

/** The evidence over the middle square of the picture, which is what the model sees. */
function drawMap(map) {
  const canvas = $("live-map"), { videoWidth: wide, videoHeight: high, clientWidth, clientHeight } = $("video");
  canvas.hidden = !map;
  if (!map) return;
  const scale = Math.min(clientWidth / wide, clientHeight / high);
  canvas.style.width = `${engine.crop() * Math.min(wide, high) * scale}px`;
  [canvas.width, canvas.height] = [map.width, map.height];
  canvas.getContext("2d").drawImage(map, 0, 0);
  map.close();
}

/** Answer frame after frame, the next one when the last is answered, until the dialog closes. */
async function watch() {
  const mine = (live += 1), video = $("video");
  let next = null;
  $("live").hidden = false;
  say($("live-said"), "Looking");
  while (live === mine && $("camera-box").open) {
    if (!video.paused && video.videoWidth) {
      try {
        const answer = await engine.frame(await createImageBitmap(video), $("where").checked, S.model?.name);
        if (live !== mine) { answer.map?.close(); return; }
        next ??= steady(engine.limits());
        if (!video.paused) { drawLive(next(answer, performance.now() / 1000)); drawMap(answer.map); }
        else answer.map?.close();
      } catch (trouble) {
        $("camera-note").textContent = trouble.message;
        return;
      }
    }
    await new Promise(requestAnimationFrame);
  }
}

function freeze() {
  const video = $("video"), on = !video.paused;
  if (on) video.pause();
  else video.play();
  $("freeze").textContent = on ? "Go on" : "Freeze";
  $("freeze").setAttribute("aria-pressed", on);
}

function shoot() {
  const video = $("video"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    if (!blob) { $("camera-note").textContent = "The camera gave no picture yet. Try again."; return; }
    $("camera-box").close();
    taken(new File([blob], `camera ${(count += 1)}.jpg`, { type: "image/jpeg" }));
  }, "image/jpeg", 0.95);
}

function release() {
  live += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("video").srcObject = null;
  $("live").hidden = true;
  $("live-map").hidden = true;
  if ($("freeze").getAttribute("aria-pressed") === "true") {
    $("freeze").textContent = "Freeze";
    $("freeze").setAttribute("aria-pressed", false);
  }
}

/** Offer the camera where there is one to ask for; taken(file) gets the photo. */
export function offerCamera(act) {
  taken = act;
  $("camera").addEventListener("click", open);
  $("shoot").addEventListener("click", shoot);
  $("camera-close").addEventListener("click", () => $("camera-box").close());
  $("camera-box").addEventListener("close", release);
  $("freeze").addEventListener("click", freeze);
  drawCamera();
}

/** By who answers now: live where the model is in this browser. */
export function drawCamera() {
  $("camera").hidden = !byHand() && !navigator.mediaDevices?.getUserMedia;
  $("camera").textContent = byHand() ? "Take a photo" : "Use camera";
  $("live-tools").hidden = !engine.frame;
}
