// An answer as a picture (PNG) to keep or to send on: photo, sentence, bars and the model's name, drawn
// in the page's own colours. It is made on this device, and nothing is sent.
import { $, capital, percent, saveFile, say } from "./page_parts.js";
import { S } from "./page_ask.js";
import { ranked, refused } from "./page_answer.js";

const WIDE = 1080, EDGE = 64, INNER = WIDE - 2 * EDGE; // pixels
const TALLEST = 960; // of the photo
const BARS = 8; // classes with a bar of their own
const SIZES = [[84, 2], [60, 4], [44, 7], [34, 12]]; // of the sentence: pixels, lines at most
const GAP = 48, ROW = 62;

/** The page's colours and fonts, as they are now. */
function looks() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const names = ["paper", "ink", "soft", "shade", "rail", "accent", "edge", "line", "display"];
  return { ...Object.fromEntries(names.map((name) => [name, of(`--${name}`)])), plain: style.fontFamily };
}

/** The beginning of the text that fits, with three dots where something is missing. */
export function shortened(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  const letters = [...text];
  let [fits, over] = [0, letters.length];
  while (over - fits > 1) {
    const middle = (fits + over) >> 1;
    if (pen.measureText(`${letters.slice(0, middle).join("").trimEnd()}…`).width <= width) fits = middle;
    else over = middle;
  }
  return `${letters.slice(0, fits).join("").trimEnd()}…`;
}

/** The text in lines that fit; a word that is too long for a line goes on in the next. */
export function lines(pen, text, width) {
  const found = [""];
  for (const word of text.split(/\s+/)) {
    const longer = found.at(-1) ? `${found.at(-1)} ${word}` : word;
    if (pen.measureText(longer).width <= width) { found[found.length - 1] = longer; continue; }
    if (found.at(-1)) found.push("");
    for (const letter of word) {
      if (pen.measureText(found.at(-1) + letter).width > width) found.push("");
      found[found.length - 1] += letter;
    }
  }
  return found;
}

/** The sentence in the largest letters in which it fits. */
function sentenceOf(pen, text, look) {
  let set = [], size = 0, most = 0;
  for ([size, most] of SIZES) {
    pen.font = `500 ${size}px ${look.display}`;
    set = lines(pen, text, INNER);
    if (set.length <= most) return { size, set };
  }
  const rest = set.slice(most - 1).join(" ");
  return { size, set: [...set.slice(0, most - 1), shortened(pen, rest, INNER)] };
}

/** The bars of the likeliest classes, and in one row what is left; none for a refused photo. */
function barsOf(answer) {
  if (refused(answer)) return { bars: [], rest: "" };
  const all = ranked(answer), bars = all.length > BARS ? all.slice(0, BARS - 1) : all, left = all.slice(bars.length);
  const share = left.reduce((sum, [, p]) => sum + p, 0);
  return { bars, rest: left.length ? `${left.length} other classes: ${percent(share)} together` : "" };
}

/** photo: ImageBitmap, image or null. */
function draw(canvas, { answer, name }, photo, model) {
  const look = looks(), pen = canvas.getContext("2d", { alpha: false }), { bars, rest } = barsOf(answer);
  const said = sentenceOf(pen, answer.sentence, look), leading = Math.round(1.14 * said.size);
  const [w, h] = photo ? [photo.naturalWidth || photo.width, photo.naturalHeight || photo.height] : [1, 0];
  const scale = photo ? Math.min(INNER / w, TALLEST / h) : 0, high = Math.round(h * scale);
  pen.font = `26px ${look.plain}`;
  const about = [model?.version ? `${model.name}, version ${model.version}` : model?.name, model?.title].filter(Boolean).join(" · ");
  const foot = lines(pen, about, INNER).slice(0, 3);
  const parts = [high || 40, said.set.length * leading, bars.length * ROW + (rest ? ROW : 0), foot.length * 36 + 30].filter(Boolean);
  [canvas.width, canvas.height] = [WIDE, 2 * EDGE + parts.reduce((sum, part) => sum + part, 0) + (parts.length - 1) * GAP];

  const box = (x, y, wide, tall, round, colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(x, y, wide, tall, round);
    pen.fill();
  };
  const text = (words, x, y, font, colour, align = "left") => {
    Object.assign(pen, { font, fillStyle: colour, textAlign: align, textBaseline: "alphabetic" });
    pen.fillText(words, x, y);
  };
  pen.fillStyle = look.paper;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  let y = EDGE;
  if (photo) {
    box(EDGE, y, INNER, high, 16, look.shade);
    pen.save();
    pen.beginPath();
    pen.roundRect(EDGE, y, INNER, high, 16);
    pen.clip();
    pen.imageSmoothingQuality = "high";
    pen.drawImage(photo, EDGE + (INNER - w * scale) / 2, y, w * scale, high);
    pen.restore();
    y += high + GAP;
  } else { // of a kind that this browser does not show
    pen.font = `28px ${look.plain}`;
    text(shortened(pen, name, INNER), EDGE, y + 30, pen.font, look.soft);
    y += 40 + GAP;
  }
  for (const line of said.set) {
    text(line, EDGE, y + Math.round(0.86 * said.size), `500 ${said.size}px ${look.display}`, look.ink);
    y += leading;
  }
  y += GAP;
  const [left, right] = [300, 150], long = INNER - left - right - 60;
  bars.forEach(([label, p], n) => {
    const best = n === 0, font = `${best ? 650 : 400} 30px ${look.plain}`;
    pen.font = font;
    text(shortened(pen, capital(label), left), EDGE, y + 40, font, look.ink);
    box(EDGE + left + 30, y + 20, long, 20, 10, look.rail);
    box(EDGE + left + 30, y + 20, Math.max(6, long * p), 20, 10, best && answer.accepted ? look.accent : look.edge);
    text(percent(p), WIDE - EDGE, y + 40, font, best ? look.ink : look.soft, "right");
    y += ROW;
  });
  if (rest) {
    text(rest, EDGE, y + 40, `26px ${look.plain}`, look.soft);
    y += ROW;
  }
  if (bars.length) y += GAP;
  pen.fillStyle = look.line;
  pen.fillRect(EDGE, y, INNER, 2);
  foot.forEach((line, n) => text(line, EDGE, y + 50 + 36 * n, `26px ${look.plain}`, look.soft));
}

/** The photo as the page shows it, else as the browser decodes its file, else null. */
async function photoOf(item) {
  const shown = $("photo");
  if (S.open === item && shown.complete && shown.naturalWidth) return shown;
  return createImageBitmap(item.file).catch(() => null);
}

/** An answered photo as a PNG. */
export async function pictureOf(item, model) {
  const photo = await photoOf(item), canvas = document.createElement("canvas");
  draw(canvas, item, photo, model);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("no picture"))), "image/png"));
}

async function save() {
  const item = S.open;
  $("share").disabled = true;
  try {
    const name = `${item.name.replace(/\.[^.]*$/, "") || "photo"} answer.png`;
    saveFile(await pictureOf(item, S.model), name);
    say($("shared"), `Saved as ${name}.`);
  } catch {
    say($("shared"), "This browser could not make the picture. Take a screenshot instead.");
  }
  $("share").disabled = false;
}

$("share").addEventListener("click", save);
