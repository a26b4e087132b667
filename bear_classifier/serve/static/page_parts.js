// What the page adds to the parts that all pages share.
import { h } from "./parts.js";

export { $, h, megabytes, plural } from "./parts.js";

export const whole = (text) => text.replaceAll(" %", "\u00a0%"); // a number keeps its unit
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// What operating systems and file managers leave in folders; the same as system_files.py.
const LEFT_FILES = new Set([".ds_store", ".localized", "icon\r", ".apdisk", ".volumeicon.icns", "thumbs.db",
  "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".directory", ".nomedia", ".picasa.ini", "picasa.ini"]);
const LEFT_FOLDERS = new Set(["__macosx", ".appledouble", ".appledb", ".appledesktop", ".fseventsd", ".spotlight-v100",
  ".documentrevisions-v100", ".temporaryitems", ".trashes", ".trash", "network trash folder", "$recycle.bin",
  "system volume information", ".thumbnails", ".sh_thumbnails", "lost+found", "@eadir", "#recycle", "@recycle",
  "#snapshot", ".@__thumb", ".ipynb_checkpoints", ".stfolder", ".stversions", ".dropbox.cache"]);
const LEFT_FILE_KINDS = /^(\._.+|\.fuse_hidden.*|\.nfs[0-9a-f]+|thumbs\.db:.*)$/s;
const LEFT_FOLDER_KINDS = /^(\.trash-\d+|found\.\d{3})$/;

export function isSystemFile(name) {
  const folded = name.toLowerCase();
  return LEFT_FILES.has(folded) || LEFT_FILE_KINDS.test(folded);
}

export function isSystemFolder(name) {
  const folded = name.toLowerCase();
  return LEFT_FOLDERS.has(folded) || LEFT_FOLDER_KINDS.test(folded);
}

export function percent(p) { // what is not certain is never shown as 0 or 100
  if (p > 0 && p < 0.005) return "under 1 %";
  if (p < 1 && p >= 0.995) return "over 99 %";
  return `${Math.round(100 * p)} %`;
}

/** Hand a file to the browser's downloads. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

/** A text change that a screen reader announces: the same sentence twice is said once. */
export function say(node, ...content) {
  const text = content.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text) node.replaceChildren(...content);
}

/** A rail from 0 to 1 that says its value; the width is set from here, as the page's rules allow. */
export function rail(label, p) {
  const bar = h("div");
  bar.style.width = `${100 * p}%`;
  return h("div", { class: "rail", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(1000 * p) / 10, "aria-valuetext": percent(p) }, bar);
}

/** A failure as the server or the page words it; again: asking once more may help. */
export class Trouble extends Error {
  constructor(code, message, { request = "", wait = 0, again = false } = {}) {
    super(message);
    Object.assign(this, { code, request, wait, again });
  }
}
