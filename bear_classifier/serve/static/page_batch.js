// Many photos: a table that fills row by row, and the same as a CSV file.
import { $, capital, h, percent, plural, rail, saveFile, say } from "./page_parts.js";
import { S, aboutModels, askAgain, start, stop } from "./page_ask.js";
import { refused } from "./page_answer.js";
import { uprightJpeg } from "./page_upright.js";

const SIDE = 96; // pixels of a thumbnail
const rows = new Map(); // photo -> its row
let opener = () => {};
let pictures = Promise.resolve(); // one photo is decoded at a time, or 200 would fill the memory

export const onOpen = (act) => { opener = act; };
export const rowOf = (item) => rows.get(item);

const ended = (item) => item.state === "answered" || item.state === "failed";
const again = () => S.items.filter((item) => item.state === "failed" && item.trouble.again);

export function answerOf(item) {
  if (item.state !== "answered") return "";
  if (item.answer.accepted) return item.answer.label;
  return refused(item.answer) ? "none of these" : "undecided";
}

/** What is more to say than a label and how sure it is. */
function remark({ state, answer, trouble }) {
  if (trouble || state !== "answered") return trouble ? trouble.message : "";
  const plain = answer.accepted && answer.sentence.toLowerCase().startsWith(answer.label.toLowerCase());
  return plain ? "" : answer.sentence;
}

const STATES = { waiting: "Waiting", asking: "Looking", pausing: "The server is busy, waiting", failed: "No answer" };

async function thumbnail(file, canvas) {
  const small = (one) => createImageBitmap(one, { resizeWidth: 2 * SIDE, resizeQuality: "medium" });
  const picture = await small(file).catch(async () => small(await uprightJpeg(file, aboutModels)));
  const least = Math.min(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, (picture.width - least) / 2, (picture.height - least) / 2, least, least,
    0, 0, SIDE, SIDE);
  picture.close();
}

function newRow(item) {
  const canvas = h("canvas", { width: SIDE, height: SIDE, class: "thumb", role: "img", "aria-label": `Thumbnail of ${item.name}` });
  const cell = (name, ...content) => h("td", { role: "cell", class: name }, ...content);
  const button = h("button", { type: "button", class: "open", title: item.name }, item.name);
  const row = h("tr", { role: "row" }, cell("picture", canvas), cell("name", button), cell("answer"), cell("sure"), cell("remark"));
  row.addEventListener("click", (event) => opener(item, event.detail === 0)); // 0: by a key
  pictures = pictures.then(() => (S.items.includes(item) ? thumbnail(item.file, canvas) : null)).catch(() => {
    canvas.replaceWith(h("span", { class: "thumb", role: "img", "aria-label": `No thumbnail of ${item.name}` }, "?"));
  });
  return row;
}

export function drawRow(item) {
  const row = rows.get(item);
  if (!row) return;
  row.dataset.state = item.state;
  const [, , answer, sure, note] = row.children;
  answer.textContent = capital(answerOf(item)) || STATES[item.state];
  const accepted = item.state === "answered" && item.answer.accepted;
  row.classList.toggle("accepted", accepted);
  sure.replaceChildren(...(accepted ? [rail(`${item.name}: how sure`, item.answer.confidence), h("span", { class: "value", "aria-hidden": "true" }, percent(item.answer.confidence))] : []));
  note.textContent = remark(item);
}

function summary() {
  const counts = new Map();
  for (const item of S.items.filter(ended)) {
    const name = answerOf(item) || "without an answer";
    counts.set(name, (counts.get(name) || 0) + 1);
  }
  const words = [...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${n} ${name}`);
  return words.length ? `${words.join(", ")}.` : "";
}

export function drawProgress() {
  const of = S.items.length, done = S.items.filter(ended).length;
  const pausing = S.items.find((item) => item.state === "pausing");
  const wait = pausing ? " The server is busy; this page waits and asks again." : "";
  const halted = S.stopped && done < of ? "Stopped: " : "";
  $("many-title").textContent = plural(of, "photo");
  $("way").max = of || 1;
  $("way").value = done;
  $("way-text").textContent = done < of ? `${halted}${done} of ${of} done.${wait}` : `All ${of} done: ${summary()}`;
  $("way").hidden = done === of;
  $("stop").hidden = done === of;
  $("stop").textContent = S.stopped ? "Continue" : "Stop";
  $("csv").disabled = !done;
  const failed = again();
  $("retry").hidden = !failed.length || (done < of && !S.stopped);
  $("retry").textContent = `Try ${failed.length} again`;
  if (S.open) return; // the one photo speaks for itself
  if (of && done === of) say($("status-text"), $("way-text").textContent);
  else if (halted || wait) say($("status-text"), `${halted}${done} of ${of} done.${wait}`);
  else if (of) say($("status-text"), `${plural(of, "photo")} are being answered.`);
}

export function drawMany() {
  $("many").hidden = S.open !== null || !S.items.length;
  for (const item of S.items) {
    if (rows.has(item)) continue;
    rows.set(item, newRow(item));
    $("rows").append(rows.get(item));
    drawRow(item);
  }
  drawProgress();
}

export function forgetRows() {
  rows.clear();
  $("rows").replaceChildren();
  $("status-text").textContent = "";
}

// -- CSV ---------------------------------------------------------------------------------------

/** A cell that no spreadsheet takes for a formula, quoted where RFC 4180 asks for it. */
function cell(value) {
  const text = String(value ?? "");
  const plain = typeof value !== "number" && /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/.test(text) ? `'${text}` : text;
  return /[",;\r\n\t]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

function line(item, labels) {
  const { answer, trouble } = item;
  const start = [item.name, answerOf(item)];
  if (item.state !== "answered") {
    const why = trouble ? [trouble.code, trouble.message] : ["NOT_ASKED", "Not asked yet."];
    return [...start, "", "", ...why, ...labels.map(() => "")];
  }
  return [...start, answer.confidence, answer.accepted ? "yes" : "no", answer.reason, answer.sentence,
    ...labels.map((label) => answer.probabilities[label] ?? "")];
}

export function csv(items) {
  const labels = S.model?.labels || [];
  const head = ["photo", "answer", "confidence", "accepted", "reason", "remark", ...labels.map((label) => `probability of ${label}`)];
  return `\uFEFF${[head, ...items.map((item) => line(item, labels))].map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
}

$("csv").addEventListener("click", () => {
  saveFile(new Blob([csv(S.items)], { type: "text/csv;charset=utf-8" }), `${S.model?.name || "photos"}.csv`);
});
$("stop").addEventListener("click", () => {
  if (S.stopped) start();
  else stop();
  drawProgress();
});
$("retry").addEventListener("click", () => askAgain(again()));
