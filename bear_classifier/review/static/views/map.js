// The map: every photo as a point, look-alikes together; select with a lasso or a box, then decide.
import { $, h, keyed, photoUrl, plural, toast } from "../dom.js";
import { unconfirm } from "../decide.js";
import { labelButtons } from "../frame.js";
import { MapTools } from "../map_tools.js";
import { ask } from "../server.js";
import { chooseAll, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, adopt, draw, drawMarks, rowOf } from "../state.js";
import { openAlike } from "./alike.js";
import { showError, showLoading } from "./loading.js";

const MOST = 1000; // photos that one decision may be about
const PICTURES = 150; // points in the window from which on they are shown as pictures
const COLOURS = { label: "Class", split: "Split", score: "Suspicion", state: "Decision" };
const V = { data: null, error: null, by: "label", rows: [], shown: [], mode: "move", scatter: null, tools: null, canvas: null };

// -- data --------------------------------------------------------------------------------------

async function fetchMap() {
  try {
    const [data, drawn] = await Promise.all([ask("api/map"), import("../scatter.js")]);
    if (!drawn.hasWebGL()) throw new Error("The map needs WebGL, which this browser does not offer; the groups (c), the grid (g) and \"more like this\" (l) show the same photos without it");
    V.row = new Map(data.sha256.map((sha, i) => [sha, i]));
    Object.assign(V, { data, drawn, error: null });
    if (data.making) setTimeout(waitForMap, 2000);
  } catch (error) {
    V.error = error;
  }
  if (S.view === "map") draw();
}

async function waitForMap() { // until t-SNE has placed the photos
  const { data } = V;
  if (S.view !== "map" || !data) return;
  const state = await ask("api/map/state").catch(() => ({ making: true, method: data.method }));
  if (data !== V.data) return;
  if (state.method !== data.method) fetchMap();
  else if (state.making) setTimeout(waitForMap, 2000);
}

const pixels = (values) => Float32Array.from(values, (value) => value / 10000);

/** The numbers of the points that the filter leaves. */
function visible() {
  const { data } = V, { label, side } = S.filter, found = [];
  const l = data.labels.indexOf(label), s = data.splits.indexOf(side);
  for (let i = 0; i < data.sha256.length; i += 1) {
    if ((!label || data.label[i] === l) && (!side || data.split[i] === s)) found.push(i);
  }
  return found;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const palette = () => css("--points").split(/\s+/);

/** Names and colours of what the points are coloured by. */
function legend() {
  const names = { label: V.data.labels, split: V.data.splits.map((s) => s || "no split"), state: V.data.states,
    score: ["0 %", "25 %", "50 %", "75 %", "100 %"] }[V.by];
  const colours = V.by === "score" ? css("--heat").split(/\s+/) : palette();
  return names.map((name, i) => [name, colours[i % colours.length]]);
}

function colours() {
  const { data, by } = V, shades = legend().map(([, colour]) => rgb(colour));
  const found = new Uint8Array(3 * data.sha256.length);
  for (let i = 0; i < data.sha256.length; i += 1) {
    const n = by === "score" ? Math.min(4, Math.round(4 * data.score[i])) : data[by][i];
    found.set(shades[n], 3 * i);
  }
  return found;
}

const chosenOnes = () => V.rows.filter((r) => S.chosen.has(r.sha256));

// -- choosing ----------------------------------------------------------------------------------

async function chose(numbers, add) {
  const hashes = numbers.map((i) => V.data.sha256[i]);
  if (add && hashes.length === 1 && S.chosen.has(hashes[0])) { // a click on a chosen point
    S.chosen.delete(hashes[0]);
    drawMarks();
    return;
  }
  const all = [...new Set([...(add ? V.rows.map((r) => r.sha256) : []), ...hashes])];
  if (all.length > MOST) { toast(`${plural(all.length, "photo")} at once are too many: at most ${MOST}; zoom in or take fewer`); return; }
  unconfirm();
  try {
    const known = add ? [...S.chosen] : [];
    V.rows = adopt((await ask("api/rows", { sha256: all })).rows);
    S.chosen = new Set([...known, ...hashes]);
    S.cursor = 0;
    drawSide();
    drawMarks();
  } catch (error) {
    toast(error.message);
  }
}

function clear() {
  V.rows = [];
  S.chosen.clear();
  drawSide();
  drawMarks();
}

// -- drawing -----------------------------------------------------------------------------------

function drawMap() {
  const { data } = V;
  V.canvas = h("canvas", { "aria-hidden": "true" });
  V.pictures = h("div", { class: "pictures", "aria-hidden": "true" });
  V.stage = h("div", { class: "stage" });
  const tool = (mode, key, text) => keyed(key, text, { class: "tool", "data-mode": mode, "aria-pressed": String(V.mode === mode) });
  const by = h("select", { id: "map-by", onchange: (event) => { V.by = event.target.value; paint(); drawLegend(); } },
    ...Object.entries(COLOURS).map(([value, name]) => h("option", { value, selected: value === V.by }, name)));
  $("main").replaceChildren(h("div", { class: "map" },
    h("div", { class: "area" },
      h("div", { class: "maptools", role: "toolbar", "aria-label": "Map" },
        tool("move", "v", "Move"), tool("lasso", "s", "Lasso"), tool("box", "b", "Box"),
        keyed("+", "Closer", { class: "icon" }), keyed("-", "Farther", { class: "icon" }), keyed("z", "Whole map"),
        h("label", {}, "Colour ", by)),
      h("div", { class: "sky", role: "group", "aria-label": `Map of ${plural(data.sha256.length, "photo")}: look-alikes lie together` },
        V.canvas, V.pictures, V.stage),
      h("p", { class: "soft small legend", id: "legend" })),
    h("aside", { class: "chosen", "aria-label": "Selected photos", tabindex: "-1" })));
  V.scatter?.end();
  V.scatter = new V.drawn.Scatter(V.canvas, css("--shade"), drawPictures);
  V.tools = new MapTools(V.stage, () => V.scatter, chose);
  setMode(V.mode);
  V.scatter.place(pixels(data.x), pixels(data.y));
  V.scatter.resize();
  if (V.camera) { V.scatter.camera.zoom = V.camera.zoom; V.scatter.camera.position.copy(V.camera.position); }
  V.camera = V.scatter.camera;
  new ResizeObserver(() => V.scatter.resize()).observe(V.stage);
  V.shown = visible();
  paint();
  drawLegend();
  drawSide();
  drawMarks();
}

function drawLegend() {
  const method = V.data.method === "PCA" ? "by principal components; t-SNE is being worked out" : "by t-SNE";
  $("legend").replaceChildren(...legend().map(([name, colour]) => {
    const dot = h("i", { "aria-hidden": "true" });
    dot.style.background = colour;
    return h("span", {}, dot, name);
  }), h("span", {}, `${plural(V.shown.length, "photo")}, placed ${method}`));
}

const paint = () => V.scatter.colour(colours());

function drawPictures() { // close enough, points are pictures
  const near = V.scatter.camera.zoom > 1.5 || V.shown.length <= PICTURES ? V.scatter.inWindow(PICTURES) : null;
  V.pictures.hidden = !near;
  V.stage.dataset.pictures = near ? near.length : 0;
  if (!near) return;
  const side = Math.max(32, Math.min(110, 0.5 * Math.sqrt((V.scatter.width * V.scatter.height) / Math.max(1, near.length))));
  const there = new Map([...V.pictures.children].map((img) => [img.dataset.sha, img]));
  for (const i of near) {
    const sha = V.data.sha256[i], [px, py] = V.scatter.toScreen(i);
    let img = there.get(sha);
    there.delete(sha);
    if (!img) {
      img = h("img", { src: photoUrl(sha, 160), "data-sha": sha, alt: "" });
      V.pictures.append(img);
    }
    img.classList.toggle("chosen", S.chosen.has(sha));
    img.style.width = img.style.height = `${side}px`;
    img.style.transform = `translate(${px - side / 2}px, ${py - side / 2}px)`;
  }
  for (const img of there.values()) img.remove();
}

function drawSide() {
  const side = document.querySelector(".map > aside");
  if (!side) return;
  const photos = V.rows.length ? [sheet(V.rows, {
    small: true, about: (r) => `photo labelled ${r.label}`, open: (n) => openAlike(V.rows[n].sha256) })]
    : [h("p", { class: "soft" }, "Select photos: draw a line around points (s, or shift and drag), a box (b), or click on points."),
      h("p", { class: "soft" }, "With keys: b, then arrows move the box, shift and arrows change its size, Enter selects."),
      h("p", { class: "soft" }, "The groups (c) are the same look-alikes as a list.")];
  side.replaceChildren(h("h2", { id: "range", "aria-live": "polite" }, V.rows.length ? inWords() : "Nothing selected"), ...photos);
  if (V.rows.length) sheetMarks();
}

function inWords() { // "12 photos: 10 black, 2 teddy"
  const counts = new Map();
  V.rows.forEach((r) => counts.set(r.label, (counts.get(r.label) || 0) + 1));
  return `${plural(V.rows.length, "photo")}: ${[...counts].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${n} ${label}`).join(", ")}`;
}

function setMode(mode) {
  V.mode = V.tools.mode = mode;
  V.stage.dataset.mode = mode;
  document.querySelectorAll(".tool").forEach((b) => b.setAttribute("aria-pressed", b.dataset.mode === mode));
}

/** The columns of photos that were decided on, as they are now. */
function update(rows) {
  const { data } = V;
  for (const r of rows) {
    const i = V.row.get(r.sha256);
    if (i === undefined) continue;
    if (data.labels.includes(r.label)) data.label[i] = data.labels.indexOf(r.label);
    const done = r.status === "dropped" ? "dropped" : r.status !== "ok" ? "not in use"
      : !r.decision ? "open" : r.decision.action === "relabel" ? "relabelled" : "kept";
    data.state[i] = data.states.indexOf(done);
  }
}

export const map = {
  name: "map",
  key: "m",
  title: "Map",
  hidden: () => Boolean(S.project.unranked),
  place: () => "",
  here: () => V.rows[S.cursor]?.sha256,
  none: () => "Select photos on the map first: a lasso (s), a box (b), or a click",
  subjects: chosenOnes,
  enter(before) {
    if (before?.name !== "alike") V.rows = [];
    else V.rows.forEach((r) => S.chosen.add(r.sha256));
    V.data = V.error = null;
    fetchMap();
  },
  draw() {
    if (V.error) showError(V.error, () => { V.error = null; draw(); fetchMap(); });
    else if (!V.data) showLoading("Drawing the map");
    else drawMap();
  },
  marks() {
    if (!V.data || !V.scatter) return;
    V.scatter.show(V.shown, [...S.chosen].map((sha) => V.row.get(sha)).filter((i) => i !== undefined), css("--ink"));
    if (V.rows.length) sheetMarks();
  },
  stored(rows) {
    if (!V.data) return;
    update(rows);
    paint();
    drawMarks();
  },
  undone(rows) {
    if (!V.data || !rows.length) return;
    V.rows = rows.map((r) => rowOf(r.sha256));
    S.chosen = new Set(rows.map((r) => r.sha256));
  },
  decided: clear,
  arrow(key, event) {
    if (!V.data || !V.scatter) return false;
    if (document.activeElement?.classList.contains("thumb")) return sheetArrow(key, event);
    V.tools.arrow(key, event.shiftKey);
    return true;
  },
  escape() {
    if (V.tools?.box) { V.tools.hideBox(); return true; }
    if (!V.rows.length) return false;
    clear();
    return true;
  },
  pressed(key) {
    if (!V.data || !V.scatter) return false;
    if (key === "Enter" && V.tools.box) V.tools.takeBox();
    else if (key === "v") { V.tools.hideBox(); setMode("move"); }
    else if (key === "s") { V.tools.hideBox(); setMode("lasso"); }
    else if (key === "b") { setMode("box"); V.tools.showBox(); }
    else if (key === "+" || key === "=") V.scatter.zoom(1.5);
    else if (key === "-") V.scatter.zoom(1 / 1.5);
    else if (key === "z") V.scatter.fit();
    else if (key === "a" && V.rows.length) chooseAll();
    else return false;
    return true;
  },
  buttons() {
    const n = chosenOnes().length, off = { disabled: !n };
    return [
      keyed("a", "All or none", { disabled: !V.rows.length }), keyed("k", n ? `Keep ${n}` : "Keep", { ...off, class: "main" }),
      keyed("d", n ? `Drop ${n}` : "Drop", off), ...labelButtons(off), keyed("r", "Restore", off)];
  },
};
