// A photo from the camera: a phone's own camera application, or the picture of a desk's camera.
import { $ } from "./page_parts.js";

const byHand = matchMedia("(pointer: coarse)").matches;
let taken = () => {};
let stream = null;
let count = 0;

const WHY = {
  NotAllowedError: "This page may not use the camera. The settings of the browser decide that.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is used by another program.",
};

async function open() {
  if (byHand) { $("snap").click(); return; }
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
  } catch (error) {
    $("camera-note").textContent = WHY[error.name] || `The camera cannot be used (${error.message}).`;
  }
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
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("video").srcObject = null;
}

/** Offer the camera where there is one to ask for; taken(file) gets the photo. */
export function offerCamera(act) {
  taken = act;
  $("camera").hidden = !byHand && !navigator.mediaDevices?.getUserMedia;
  $("camera").textContent = byHand ? "Take a photo" : "Use camera";
  $("camera").addEventListener("click", open);
  $("shoot").addEventListener("click", shoot);
  $("camera-close").addEventListener("click", () => $("camera-box").close());
  $("camera-box").addEventListener("close", release);
}
