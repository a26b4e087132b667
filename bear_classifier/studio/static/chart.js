// The curve of a training: the error after each epoch, drawn as it comes in.
import { h } from "./parts.js";
import { share } from "./words.js";

const NS = "http://www.w3.org/2000/svg";
const WIDE = 560, HIGH = 220, LEFT = 48, RIGHT = 96, TOP = 12, BOTTOM = 34;

function s(tag, facts, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(facts)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A round number that is not below the largest value, and its quarters. */
function ticks(most) {
  const steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5], step = steps.find((one) => 4 * one >= most) || 0.5;
  const found = [];
  for (let value = 0; value < most + step; value += step) found.push(value);
  return found.slice(0, 6);
}

/** The chart and its table, for those who do not see it. rows: of the history (epoch, error);
 * planned: epochs. */
export function curve(rows, planned) {
  const lines = ticks(Math.max(...rows.map((row) => row.error), 0.005)), top = lines.at(-1);
  const many = Math.max(planned || 0, rows.length, 2);
  const x = (epoch) => LEFT + ((WIDE - LEFT - RIGHT) * (epoch - 1)) / (many - 1), y = (error) => TOP + (HIGH - TOP - BOTTOM) * (1 - error / top);
  const path = rows.map((row, n) => `${n ? "L" : "M"}${x(row.epoch).toFixed(1)} ${y(row.error).toFixed(1)}`).join("");
  const last = rows.at(-1), each = Math.ceil(many / 8);
  const shown = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart", role: "img", "aria-label": `Error after ${last.epoch} of ${many} epochs: ${share(last.error)}` },
    ...lines.map((value) => s("g", {}, s("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }), s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, share(value).replace(/\.0%$/, "%")))),
    ...Array.from({ length: many }, (_, n) => n + 1).filter((epoch) => (epoch - 1) % each === 0).map((epoch) => s("text", { x: x(epoch), y: HIGH - 14, "text-anchor": "middle" }, String(epoch))),
    s("text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 0.5, "text-anchor": "middle", class: "axis" }, "epoch"),
    s("path", { d: path, class: "line" }), ...rows.map((row) => s("circle", { cx: x(row.epoch), cy: y(row.error), r: 3 })),
    s("text", { x: x(last.epoch) + 8, y: y(last.error) - 7, class: "now" }, share(last.error)));
  const table = h("table", { class: "heard" }, h("caption", {}, "Error after each epoch"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Epoch"), h("th", { scope: "col" }, "Error"))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, h("th", { scope: "row" }, String(row.epoch)), h("td", {}, share(row.error))))));
  return h("figure", { class: "curve" }, shown, table);
}
