// The model in this browser, and the decoder of what a browser does not read: a worker, so that the page
// stays alive while it computes. Libraries come when they are needed.
import { sentence } from "./page_sentences.js";
import { Unusable, overlay, pictureOf } from "./page_picture.js";
import { fitSquare, pixelsOf, squareCanvas } from "./page_resize.js";

const MAPS = 3; // of the likeliest classes
const MOST_SENT = 16e6; // pixels of a JPEG that is sent: of more the server uses a quarter
let runtime = null; // onnxruntime-web
let session = null; // a promise
let about = null; // {labels, reasons} of the model's own, {size, crop, interpolation} of its square, limits

/** The bytes of a file of this page, if they are those that were published. */
async function checked({ name, sha256, bytes: size }, report = () => {}) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Unusable("NO_MODEL", `${name} cannot be loaded (error ${response.status}). Load the page again.`);
  const bytes = new Uint8Array(size), reader = response.body.getReader();
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (length + part.value.length <= size) bytes.set(part.value, length);
    length += part.value.length;
    report(length);
  }
  if (crypto.subtle) { // not on a page over plain http from another machine
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    if (length !== size || [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") !== sha256) {
      throw new Unusable("CHANGED", `${name} is not the file that was published with this page. Load the page again.`);
    }
  }
  return bytes;
}

async function load(given) {
  about = given;
  const bytes = { wasm: 0, model: 0 };
  const progress = (name) => (length) => { bytes[name] = length; postMessage({ loaded: bytes.wasm + bytes.model }); };
  const [wasm, model] = await Promise.all([checked(given.wasm, progress("wasm")), checked(given.model, progress("model"))]);
  runtime = await import("./ort/ort.wasm.min.mjs");
  const { env, InferenceSession } = runtime;
  env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  env.wasm.wasmBinary = wasm;
  env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  // Without an arena: what one large photo took would be kept for ever, as this memory never shrinks.
  const made = await InferenceSession.create(model, { executionProviders: ["wasm"], enableCpuMemArena: false, enableMemPattern: false });
  env.wasm.wasmBinary = undefined;
  return made;
}

const NO_HEIC = "This browser does not read HEIC. Save it as JPEG, or set the camera to the most compatible format.";

async function heif(bytes) {
  let library;
  try {
    library = (await import("./heif/libheif-bundle.mjs")).default();
  } catch {
    throw new Unusable("UNSUPPORTED_FORMAT", NO_HEIC);
  }
  const [image] = new library.HeifDecoder().decode(bytes);
  if (!image) throw new Unusable("DAMAGED", "The HEIC file cannot be decoded. Save it as JPEG.");
  const [width, height] = [image.get_width(), image.get_height()];
  const pixels = new ImageData(width, height);
  await new Promise((done, fail) => image.display(pixels, (shown) => (shown ? done() : fail(new Unusable("DAMAGED", "The HEIC file cannot be decoded. Save it as JPEG.")))));
  image.free?.();
  return createImageBitmap(pixels);
}

/** What the model says of an ImageBitmap or a canvas, which is closed, and the square that it saw. */
async function look(picture) {
  const square = fitSquare(picture, about), { rgb, dims } = pixelsOf(square, about);
  picture.close?.();
  return { out: await (await session).run({ pixels: new runtime.Tensor("uint8", rgb, dims) }), square };
}

function answerOf(out) {
  const p = Array.from(out.probabilities.data), label = about.labels[Number(out.label.data[0])];
  const probabilities = Object.fromEntries(about.labels.map((name, n) => [name, p[n]]));
  const answer = { label, confidence: probabilities[label], probabilities, reason: about.reasons[Number(out.reason.data[0])],
    score: out.ood_score.data[0] };
  return { ...answer, accepted: answer.reason === "ok", sentence: sentence(answer) };
}

async function address(canvas) {
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
  return new FileReaderSync().readAsDataURL(blob);
}

function mapsOf(out, square, names) {
  const [, rows, columns] = out.evidence.dims, cells = rows * columns;
  const parts = names.map((name) => out.evidence.data.subarray(about.labels.indexOf(name) * cells, (about.labels.indexOf(name) + 1) * cells));
  const strongest = Math.max(...parts.map((part) => part.reduce((most, value) => Math.max(most, Math.abs(value)), 0)));
  return parts.map((part) => overlay(square, part, rows, columns, strongest));
}

const work = {
  async load(given) {
    session = load(given);
    await session;
    return {};
  },
  async classify({ file }) {
    return answerOf((await look(await pictureOf(file, heif, about.limits))).out);
  },
  async explain({ file }) {
    const { out, square } = await look(await pictureOf(file, heif, about.limits)), answer = answerOf(out);
    const canvas = squareCanvas(square, about.size);
    const names = [...about.labels].sort((a, b) => answer.probabilities[b] - answer.probabilities[a]).slice(0, MAPS);
    const images = await Promise.all(mapsOf(out, canvas, names).map(address));
    return { ...answer, photo: await address(canvas), maps: names.map((label, n) => ({ label, image: images[n] })) };
  },
  /** One frame of the camera. where: whether to draw the evidence for the likeliest class. */
  async frame({ picture, where }) {
    const { out, square } = await look(picture), answer = answerOf(out);
    return { ...answer, map: where ? mapsOf(out, squareCanvas(square, about.size), [answer.label])[0].transferToImageBitmap() : null };
  },
  /** A photo as an upright JPEG. heic: whether libheif is there. */
  async upright({ file, limits, heic }) {
    const nothing = () => { throw new Unusable("UNSUPPORTED_FORMAT", NO_HEIC); };
    const picture = await pictureOf(file, heic ? heif : nothing, limits), { width, height } = picture;
    const part = width * height > MOST_SENT ? 0.5 : 1;
    const canvas = new OffscreenCanvas(Math.floor(width * part), Math.floor(height * part)), pen = canvas.getContext("2d", { alpha: false });
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close?.();
    return { jpeg: await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 }) };
  },
};

let before = Promise.resolve(); // one photo after the other: two decoded ones would take twice the memory

addEventListener("message", ({ data }) => { before = before.then(() => done(data)); });

async function done({ id, task, given }) {
  try {
    const result = await work[task](given);
    postMessage({ id, result }, result.map ? [result.map] : []);
  } catch (error) {
    const code = error instanceof Unusable ? error.code : "NO_ANSWER";
    const message = error instanceof Unusable ? error.message : `The model cannot answer in this browser (${error?.message || error}).`;
    postMessage({ id, trouble: { code, message } });
  }
}
