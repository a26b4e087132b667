// Files and folders as they are dropped or chosen, and the classes that their folders mean.
import { READABLE } from "./uploads.js";

const SPLITS = /^(train|training|valid|validation|val|test|testing)$/i;
const HIDDEN = /^(\.|__MACOSX$|@eaDir$|\$RECYCLE\.BIN$)/i;

/** Every entry of a folder; a reader gives at most 100 at once. */
async function entriesOf(folder) {
  const reader = folder.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length) return found;
    found.push(...some);
  }
}

async function walk(entry, path, found) {
  if (HIDDEN.test(entry.name)) return;
  if (entry.isFile) {
    found.push({ file: await new Promise((done, failed) => { entry.file(done, failed); }), path: [...path, entry.name] });
  } else {
    for (const one of await entriesOf(entry)) await walk(one, [...path, entry.name], found);
  }
}

/** What was dropped: files with their path in folders. Has to be called before the event ends. */
export async function filesDropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() || item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, path: [entry.name] });
    else if (entry) await walk(entry, [], found);
  }
  return found;
}

/** What was chosen: the same from an input. */
export const filesChosen = (input) => [...input.files].map((file) => ({ file, path: (file.webkitRelativePath || file.name).split("/") }))
  .filter((one) => !one.path.some((part) => HIDDEN.test(part)));

export const isZip = ({ file }) => /\.zip$/i.test(file.name);

/** Photos apart from what cannot be one by its name. */
export function readable(files) {
  return { photos: files.filter(({ file }) => READABLE.test(file.name) || file.type.startsWith("image/")),
    others: files.filter(({ file }) => !READABLE.test(file.name) && !file.type.startsWith("image/")) };
}

/** A name by which the same class is known again; a Mac stores umlauts as two characters. */
export const folded = (name) => name.normalize("NFC").toLowerCase();

/** The level of the class folders: below folders that hold all others, and below splits if all
 * folders there are splits, as `bears run` reads them. */
function classLevel(folders, isClass) {
  const at = (level) => [...new Set(folders.map((parts) => parts[level]))];
  let level = 0;
  for (;;) {
    const [name, ...others] = at(level);
    if (others.length || !name || isClass(name) || SPLITS.test(name) || folders.some((parts) => parts.length <= level + 1)) break;
    level += 1;
  }
  const names = at(level).filter(Boolean);
  return names.length && names.every((name) => SPLITS.test(name) && !isClass(name)) ? level + 1 : level;
}

/** The class of each path by its folders: a known class anywhere in it, else its folder at the level
 * of classes. paths: parts; known: labels. "" where no folder says it. */
export function classesOf(paths, known = []) {
  const folders = paths.map((path) => path.slice(0, -1).map((part) => part.normalize("NFC")));
  const named = new Map(known.map((label) => [folded(label), label]));
  const level = classLevel(folders, (name) => named.has(folded(name)));
  return folders.map((parts) => parts.map((part) => named.get(folded(part))).filter(Boolean).at(-1) || parts[level] || "");
}

/** The names in a zip file, from the directory at its end. */
export async function namesInZip(file) {
  const tail = new DataView(await file.slice(Math.max(0, file.size - 66000)).arrayBuffer());
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at -= 1;
  if (at < 0) throw new Error(`${file.name} is not a zip file, or only a part of one.`);
  const size = tail.getUint32(at + 12, true), start = tail.getUint32(at + 16, true);
  const view = new DataView(await file.slice(start, start + size).arrayBuffer());
  const names = [], text = new TextDecoder();
  for (let n = 0; n + 46 <= view.byteLength && view.getUint32(n, true) === 0x02014b50;) {
    const length = view.getUint16(n + 28, true);
    names.push(text.decode(new Uint8Array(view.buffer, n + 46, length)));
    n += 46 + length + view.getUint16(n + 30, true) + view.getUint16(n + 32, true);
  }
  return names.filter((name) => !name.endsWith("/") && READABLE.test(name) && !name.split("/").some((part) => HIDDEN.test(part)));
}
