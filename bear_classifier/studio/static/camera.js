// Photos from the camera: many while the button is held, about five a second.
import { $, h, plural } from "./parts.js";
import { announce } from "./blocks.js";

const BETWEEN = 200; // milliseconds
const LONGER = 640; // pixels of the longer side
const WHY = {
  NotAllowedError: "This page may not use the camera. The settings of the browser decide that.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is used by another program.",
};

let stream = null, timer = 0, taken = 0, give = () => {};

/** Whether the browser lends a camera to this page: only below https, or on this computer. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

function shoot() {
  const video = $("camera-video"), scale = Math.min(1, LONGER / Math.max(video.videoWidth, video.videoHeight));
  if (!video.videoWidth) return;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const name = `camera-${Date.now()}-${(taken += 1)}.jpg`;
  $("camera-count").textContent = `${plural(taken, "photo")} taken`;
  $("camera-last").replaceChildren(canvas);
  canvas.toBlob((blob) => give(new File([blob], name, { type: "image/jpeg" }), name), "image/jpeg", 0.9);
}

function begin() {
  if (timer || !stream) return;
  $("camera-shoot").classList.add("held");
  shoot();
  timer = setInterval(shoot, BETWEEN);
}

function end() {
  if (!timer) return;
  clearInterval(timer);
  timer = 0;
  $("camera-shoot")?.classList.remove("held");
  announce($("camera-count").textContent);
}

function release() {
  end();
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
}

/** Open the camera for a class; taking(file, name) gets each photo. */
export async function openCamera(label, taking) {
  const box = $("camera");
  give = taking;
  taken = 0;
  const shootButton = h("button", { id: "camera-shoot", type: "button", class: "main", disabled: true,
    onpointerdown: (event) => { event.currentTarget.setPointerCapture(event.pointerId); begin(); },
    onpointerup: end, onpointercancel: end, onblur: end, oncontextmenu: (event) => event.preventDefault(),
    onkeydown: (event) => { if ((event.key === " " || event.key === "Enter") && !event.repeat) { event.preventDefault(); begin(); } },
    onkeyup: (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); end(); } } }, "Hold to take photos");
  box.replaceChildren(h("h2", { id: "camera-title" }, label ? `Photos of ${label}` : "Photos without a class"),
    h("p", { class: "soft" }, "About five photos a second while you hold the button. Turn the thing, come nearer, change the light and what is behind it: photos that are nearly the same teach hardly more than one."),
    h("div", { class: "stage" }, h("video", { id: "camera-video", autoplay: true, playsinline: true, muted: true, "aria-label": "What the camera sees" })),
    h("p", { id: "camera-note", role: "alert" }),
    h("div", { class: "tools" }, shootButton, h("span", { id: "camera-count" }, "No photo taken yet"), h("span", { id: "camera-last", "aria-hidden": "true" }),
      h("button", { type: "button", onclick: () => box.close() }, "Done")));
  box.addEventListener("close", release, { once: true });
  box.showModal();
  try {
    const found = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "environment" } });
    if (!box.open) { found.getTracks().forEach((track) => track.stop()); return; }
    stream = found;
    const video = $("camera-video");
    video.srcObject = stream;
    await video.play();
    shootButton.disabled = false;
    shootButton.focus();
  } catch (error) {
    $("camera-note").textContent = WHY[error.name] || `The camera cannot be used (${error.message}).`;
  }
}
