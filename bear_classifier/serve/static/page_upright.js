// A HEIC photo as an upright JPEG, made in this browser: by itself where it reads HEIC, else by libheif
// in a worker, both fetched for the first HEIC and ended after the last. No server has to decode one.
import { formatOf } from "./page_picture.js";
import { newWorker } from "./page_tasks.js";

const HEAD = 64; // bytes that say which format it is
const OWN_WAYS = new Set(["UNSUPPORTED_FORMAT", "NO_ANSWER"]); // it is not read here at all
const made = new WeakMap(); // file -> promise of its JPEG or null
let worker = null;
let before = Promise.resolve(); // one after the other: a decoded one may have 200 MB
let left = 0;

async function decoded(file, { limits, heic }) {
  left += 1;
  const mine = before.then(() => (worker ??= newWorker()).ask("upright", { file, limits, heic }));
  before = mine.catch(() => {});
  try {
    const { jpeg } = await mine;
    return new File([jpeg], file.name.replace(/\.hei[cf]$/i, "") + ".jpg", { type: "image/jpeg" });
  } catch (trouble) {
    if (OWN_WAYS.has(trouble.code)) return null;
    throw trouble;
  } finally {
    left -= 1;
    if (!left) { worker?.end(); worker = null; }
  }
}

async function begin(file, about) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  } catch {
    return null; // it was moved or changed: whoever reads it says so
  }
  return formatOf(head) === "heic" ? decoded(file, await about()) : null;
}

/** The JPEG (a File); null where the file is no HEIC, or nothing here reads it. about(): a
 * promise of {limits, heic: whether libheif is there}. Raises Trouble for a HEIC that is damaged or too large. */
export function uprightJpeg(file, about) {
  if (!made.has(file)) made.set(file, begin(file, about));
  return made.get(file);
}
