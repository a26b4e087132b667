// The cleaning page. Rows come from the server; a decision is kept in localStorage until the
// server has stored it. Every text is set as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const S = {
  project: null, rows: [], at: 0, first: 0, of: 0, whole: false, view: "one", many: 24,
  filter: { label: "", reason: "", side: "", state: "open" },
  progress: null, full: new Map(), chosen: new Set(), confirm: null, cursor: 0, lost: "",
};
const outbox = new Map(); // request id -> what was decided and is not stored yet

// -- small things ------------------------------------------------------------------------------

function h(tag, facts = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null && child !== false && child !== ""));
  return node;
}

/** A button with its key. before: words that are only heard; what is seen is a part of the name. */
const keyed = (key, text, facts = {}, before = "") =>
  h("button", { "data-key": key, ...facts }, h("kbd", {}, key), heard(before), h("span", {}, text));
const heard = (words) => words && h("span", { class: "heard" }, words);
const photoUrl = (sha, size) => `photo/${sha}?size=${size}`;
/** A time of the catalog (UTC) as clocks show it here. */
const when = (at) => {
  const t = new Date(at), two = (n) => String(n).padStart(2, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
};
const percent = (p) => `${Math.round(100 * p)} %`;
const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const row = () => S.rows[S.at];
const rowOf = (sha) => S.rows.find((r) => r.sha256 === sha);
const filters = () => new URLSearchParams(S.filter).toString();

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

let fading = 0;
function toast(text) {
  clearTimeout(fading);
  $("toast").textContent = text;
  fading = setTimeout(() => { $("toast").textContent = ""; }, 6000);
}

class Answer extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
  get again() { return this.status === 0 || this.status >= 500; }
}

async function ask(path, body) {
  const how = { signal: AbortSignal.timeout(20000) };
  if (body) {
    how.method = "POST";
    how.headers = { "Content-Type": "application/json", "X-Bears": "1" };
    how.body = JSON.stringify(body);
  }
  let answer, said;
  try {
    answer = await fetch(path, how);
    said = await answer.json();
  } catch {
    const gone = "The server does not answer; start bears review again, this page waits for it";
    throw new Answer(answer && !answer.ok ? answer.status : 0, "NO_SERVER", gone);
  }
  if (answer.ok) return said;
  const error = said.error || { code: "ERROR", message: `the server answers ${answer.status}` };
  throw new Answer(answer.status, error.code, error.message);
}

// -- the queue ---------------------------------------------------------------------------------

function readHash() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(S.filter)) if (said.has(name)) S.filter[name] = said.get(name);
  S.view = said.get("view") === "grid" ? "grid" : "one";
  S.many = said.get("many") === "48" ? 48 : 24;
  return said.get("at") || "";
}

function writeHash() {
  const here = S.view === "grid" ? S.rows[S.first] : row();
  const said = new URLSearchParams({ view: S.view, many: S.many, ...S.filter });
  if (here) said.set("at", here.sha256);
  history.replaceState(null, "", `#${said}`);
}

async function load(at = "") {
  const page = await ask(`api/queue?${filters()}&limit=100&at=${encodeURIComponent(at)}`);
  Object.assign(S, { rows: page.rows, of: page.of, at: 0, first: 0, cursor: 0, whole: page.rows.length < 100 });
  S.chosen.clear();
  S.full.clear();
  S.progress = await ask(`api/progress?${filters()}`);
}

let loading = null;
function more() { // what follows the last row; one request at a time
  loading = loading || (async () => {
    const last = S.rows.at(-1);
    if (!last || S.whole) return;
    const rows = S.rows;
    const page = await ask(`api/queue?${filters()}&limit=100&after=${last.rank}`);
    if (rows !== S.rows) return; // another filter was chosen meanwhile
    S.rows.push(...page.rows);
    S.whole = page.rows.length < 100;
  })().finally(() => { loading = null; });
  return loading;
}

async function earlier() { // what precedes the first row
  if (!S.rows.length) return false;
  const page = await ask(`api/queue?${filters()}&limit=100&before=${S.rows[0].rank}`);
  S.rows.unshift(...page.rows);
  S.at += page.rows.length;
  S.first += page.rows.length;
  return page.rows.length > 0;
}

async function full(r) {
  if (!S.full.has(r.sha256)) S.full.set(r.sha256, await ask(`api/photo/${r.sha256}`));
  return S.full.get(r.sha256);
}

function refresh(rows) { // as they are now; their places in the queue stay
  for (const fresh of rows) {
    S.full.delete(fresh.sha256);
    const known = rowOf(fresh.sha256);
    if (known) Object.assign(known, fresh, { place: known.place, pending: null });
  }
  for (const entry of outbox.values()) mark(entry);
}

const AHEAD = 60; // rows that are fetched before they are needed, so that nobody waits

let walking = false;
async function go(steps) {
  if (walking) return;
  const grid = S.view === "grid", by = grid ? S.many : 1;
  let to = (grid ? S.first : S.at) + steps * by;
  try {
    walking = true;
    if (steps > 0 && to + by > S.rows.length && !S.whole) await more();
    if (to < 0 && (await earlier())) to = (grid ? S.first : S.at) - by;
  } catch (error) {
    toast(error.message);
    return;
  } finally {
    walking = false;
  }
  S.chosen.clear();
  S.cursor = 0;
  to = Math.max(0, Math.min(to, S.rows.length));
  if (grid) S.first = to;
  else S.at = to;
  draw();
  window.scrollTo(0, 0); // on a phone the whole page scrolls
  if (to + AHEAD > S.rows.length) more().catch(() => {});
}

// -- deciding ----------------------------------------------------------------------------------

const box = () => `bears-review:${S.project.name}:`;
const keep = (entry) => {
  outbox.set(entry.request, entry);
  localStorage.setItem(box() + entry.request, JSON.stringify(entry));
};
const forget = (entry) => {
  outbox.delete(entry.request);
  localStorage.removeItem(box() + entry.request);
};
const mark = (entry) => entry.items.forEach((item) => {
  const r = rowOf(item.sha256);
  if (r) r.pending = item;
});
const unmark = (entry) => entry.items.forEach((item) => {
  const r = rowOf(item.sha256);
  if (r && r.pending === item) r.pending = null;
});

function inWords(action, label, rows) {
  const what = rows.length === 1 ? `photo labelled ${rows[0].label}` : plural(rows.length, "photo");
  return {
    keep: [`Keep ${what}`, `kept ${what}`], drop: [`Drop ${what}`, `dropped ${what}`],
    restore: [`Restore ${what}`, `restored ${what}`],
    relabel: [`Relabel ${what} to ${label}`, `relabelled ${what} to ${label}`],
  }[action];
}

function decide(rows, action, label = "") {
  const items = rows.map((r) => {
    const same = action === "relabel" && r.label === label;
    return { sha256: r.sha256, action: same ? "keep" : action, label: same ? "" : label, based: r.based };
  });
  const [words, done] = inWords(action, label, rows);
  const test_side = rows.filter((r, n) => r.split === "test" && items[n].action !== "keep").length; // which it was asked about
  const entry = { request: newId(), at: Date.now(), items, test_side, words, done, state: "waiting", sentence: "", overwrite: false, tried: 0 };
  keep(entry);
  mark(entry);
  drain();
}

let draining = null;
function drain() { // one at a time and in order, so that what is stored is what was pressed
  draining = draining || (async () => {
    for (;;) {
      const entry = [...outbox.values()].find((e) => e.state === "waiting");
      if (!entry) break;
      if (!(await send(entry))) break;
    }
  })().finally(() => { draining = null; drawOutbox(); });
  return draining;
}

let retry = 0;
async function send(entry) {
  clearTimeout(retry);
  entry.tried += 1;
  keep(entry);
  try {
    const { request, overwrite, items, test_side } = entry;
    const answer = await ask(`api/decide?${filters()}`, { request, overwrite, items, test_side });
    forget(entry);
    stored(answer, `Stored: ${entry.done}`);
    return true;
  } catch (error) {
    entry.sentence = error.message;
    if (!error.again) entry.state = error.code === "CONFLICT" ? "conflict" : "refused";
    keep(entry);
    toast(`Not stored yet: ${entry.words}`);
    if (error.again) retry = setTimeout(drain, 4000);
    return !error.again;
  }
}

function stored(answer, words) {
  refresh(answer.rows);
  S.progress = answer.progress;
  toast(words);
  drawProgress();
  if (S.view === "grid") drawGridMarks();
  else if (row() && answer.rows.some((r) => r.sha256 === row().sha256)) draw();
}

async function undo() {
  if (draining) await draining;
  const left = [...outbox.values()].filter((e) => e.state === "waiting").at(-1);
  if (left && !left.tried) {
    forget(left);
    unmark(left);
    toast(`Taken back before it was stored: ${left.words}`);
    draw();
    return;
  }
  if (left) { toast("The server does not answer; undo when it does"); return; }
  const next = S.progress && S.progress.undo;
  if (!next) { toast("There is nothing to undo"); return; }
  try {
    const answer = await ask(`api/undo?${filters()}`, { shown: next.event });
    stored(answer, `Undone: ${next.words}`);
    const back = S.rows.findIndex((r) => answer.rows.some((fresh) => fresh.sha256 === r.sha256));
    if (back < 0 && answer.rows.length) await load(answer.rows[0].sha256);
    else if (S.view === "one") S.at = back;
    else if (back < S.first || back >= S.first + S.many) S.first = back;
    draw();
  } catch (error) {
    toast(error.message);
    if (error.status !== 409) return;
    S.progress = await ask(`api/progress?${filters()}`);
    drawProgress();
  }
}

function overwrite(entry) {
  Object.assign(entry, { state: "waiting", overwrite: true });
  keep(entry);
  drain();
}

async function takeStored(entry) { // the other window's decision stands; look at it
  forget(entry);
  unmark(entry);
  S.filter.state = "all";
  await load(entry.items[0].sha256);
  draw();
}

// what is pressed -------------------------------------------------------------------------------

function subjects(action) {
  if (S.view === "one") return row() ? [row()] : [];
  const shown = S.rows.slice(S.first, S.first + S.many);
  if (S.chosen.size) return shown.filter((r) => S.chosen.has(r.sha256));
  return action === "keep" ? shown.filter((r) => !r.pending && !r.decision && r.status === "ok") : [];
}

function press(key, action, label) {
  let rows = subjects(action);
  if (action === "restore") rows = rows.filter((r) => r.status === "dropped");
  else rows = rows.filter((r) => r.status === "ok");
  if (!rows.length) {
    const what = action === "restore" ? "Only a dropped photo can be restored"
      : subjects(action).length ? "This photo is not in use; restore it first (r)"
      : S.view === "grid" && S.rows.length ? "Select photos first: arrows and space, or a click" : "There is no photo here";
    toast(what);
    return;
  }
  if (rows.some((r) => r.pending)) { toast("The last decision on it is not stored yet"); return; }
  const tests = rows.filter((r) => r.split === "test" && action !== "keep"
    && !(action === "relabel" && r.label === label)).length;
  const about = key + rows.map((r) => r.sha256).join();
  if (tests && S.confirm?.about !== about) {
    S.confirm = { key, about };
    const who = rows.length === 1 ? "This photo is" : `${tests} of these photos ${tests > 1 ? "are" : "is"}`;
    $("confirm").replaceChildren(
      h("span", {}, `${who} on the test split: it changes what the model is judged by. Press ${key} again to store it.`),
      h("button", { onclick: () => press(key, action, label) }, h("kbd", {}, key.length === 1 ? key : "↵"), h("span", {}, "Yes, store it")), h("button", { onclick: unconfirm }, "No"));
    $("confirm").hidden = false;
    return;
  }
  unconfirm();
  decide(rows, action, label);
  if (S.view === "one") { go(1); return; }
  const swept = action === "keep" && !S.chosen.size;
  S.chosen.clear();
  if (swept) go(1);
  else draw();
}

function unconfirm() {
  S.confirm = null;
  $("confirm").hidden = true;
}

function setView(view) {
  if (view === S.view) return;
  if (view === "grid") { S.first = S.at; S.cursor = 0; }
  else S.at = Math.min(S.first + S.cursor, S.rows.length);
  S.view = view;
  S.chosen.clear();
  draw();
}

const KEYS = [
  ["k", "keep; in the grid all selected, or all shown"], ["d", "drop"], ["1–9", "relabel to this class"],
  ["r", "restore a dropped photo"], ["u", "undo the last decision, a batch as a whole"],
  ["n →", "next"], ["p ←", "previous"], ["g", "grid or one photo"], ["f", "filters"],
  ["arrows, space", "move and select in the grid"], ["a", "select all shown, or none"], ["Enter", "look at one photo of the grid"],
  ["o", "overwrite after a conflict"], ["Esc", "cancel"], ["?", "this list"],
];

function act(key) {
  if (key !== S.confirm?.key) unconfirm();
  if (key === "k") press(key, "keep");
  else if (key === "d") press(key, "drop");
  else if (key === "r") press(key, "restore");
  else if (/^[1-9]$/.test(key) && key <= S.project.labels.length) press(key, "relabel", S.project.labels[key - 1]);
  else if (key === "u") undo();
  else if (key === "n") go(1);
  else if (key === "p") go(-1);
  else if (key === "g") setView(S.view === "one" ? "grid" : "one");
  else if (key === "f") showFilters($("filters").hidden);
  else if (key === "a" && S.view === "grid") selectAll();
  else if (key === "o") {
    const entry = [...outbox.values()].find((e) => e.state === "conflict");
    if (entry) overwrite(entry);
    else toast("There is no conflict to overwrite");
  } else if (key === "?") { if ($("help").open) $("help").close(); else $("help").showModal(); }
  else return false;
  return true;
}

function selectAll() {
  const shown = S.rows.slice(S.first, S.first + S.many);
  const all = S.chosen.size === shown.length;
  S.chosen = new Set(all ? [] : shown.map((r) => r.sha256));
  drawGridMarks();
}

function showFilters(shown) {
  $("filters").hidden = !shown;
  $("filter").setAttribute("aria-expanded", shown);
  if (shown) $("f-label").focus();
}

document.addEventListener("keydown", (event) => {
  if (!S.project || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("select, input")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if ($("help").open && event.key !== "?") return;
  const key = event.key;
  if (key === "Escape") { unconfirm(); S.chosen.clear(); drawGridMarks(); return; }
  if (key.startsWith("Arrow") && arrow(key)) { event.preventDefault(); return; }
  if (event.repeat) return; // a key that is held down does not decide about one photo after another
  if (act(key.length === 1 ? key.toLowerCase() : key)) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-key]");
  if (button) act(button.dataset.key);
});

function arrow(key) {
  const forward = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (S.view === "one") { if (forward) { unconfirm(); go(forward); } return Boolean(forward); }
  const thumbs = [...document.querySelectorAll(".thumb")];
  if (!thumbs.length) return false;
  const columns = thumbs.filter((t) => t.offsetTop === thumbs[0].offsetTop).length;
  const to = S.cursor + (forward || { ArrowDown: columns, ArrowUp: -columns }[key]);
  if (to >= 0 && to < thumbs.length) {
    S.cursor = to;
    thumbs.forEach((t, n) => { t.tabIndex = n === to ? 0 : -1; });
    thumbs[to].focus();
  }
  return true;
}

// -- drawing -----------------------------------------------------------------------------------

function draw() {
  $("view").lastChild.textContent = S.view === "one" ? "Grid" : "One";
  $("many-box").hidden = S.view !== "grid";
  writeHash();
  drawProgress();
  drawActions();
  drawOutbox();
  if (S.view === "grid") drawGrid();
  else drawOne();
}

function drawProgress() {
  const p = S.progress;
  if (!p) return;
  const faults = p.faults < 0.5 ? "expected faults left: probably none" : `expected faults left: about ${Math.round(p.faults)}`;
  $("progress").replaceChildren(`${p.looked} of ${p.of} looked at; ${faults}`,
    ...(p.enough ? [". ", h("b", {}, `${p.stop}.`)] : []));
  $("progress").title = p.stop;
  const narrowed = ["label", "reason", "side"].filter((name) => S.filter[name]).length + (S.filter.state !== "open");
  $("filter").lastChild.textContent = narrowed ? `Filter (${narrowed})` : "Filter";
  $("done").style.width = `${p.of ? (100 * p.looked) / p.of : 0}%`;
  $("undo").disabled = !p.undo && !outbox.size;
  $("undo").lastChild.textContent = p.undo ? `Undo ${p.undo.words}` : "Undo";
  $("undo").title = p.undo ? `Takes back: ${p.undo.words}` : "Nothing to undo";
  const names = { reason: { "": "Any" }, side: { "": "Any" }, label: { "": "Any" }, state: {} };
  const known = { label: ["", ...S.project.labels], reason: ["", ...S.project.reasons],
    side: ["", ...S.project.sides], state: S.project.states };
  for (const [name, values] of Object.entries(known)) {
    const chosen = S.filter[name];
    $(`f-${name}`).replaceChildren(...values.map((value) => {
      const n = value ? ` (${p.counts[name][value] || 0})` : "";
      return h("option", { value, selected: value === chosen }, (names[name][value] || value) + n);
    }));
  }
}

function drawActions() {
  const many = S.view === "grid", n = S.chosen.size;
  const here = many || row();
  const off = { disabled: !here };
  const labels = S.project.labels.map((label, i) => i < 9
    ? keyed(String(i + 1), label, { ...off, class: "label" }, "Relabel to ")
    : h("button", { ...off, class: "label", onclick: () => press(label, "relabel", label) }, heard("Relabel to "), label));
  const dropped = many || (row() && row().status === "dropped");
  $("actions").replaceChildren(
    keyed("p", "Back", { title: many ? "Previous page" : "Previous photo" }),
    keyed("k", many ? (n ? `Keep ${n}` : "Keep all shown") : "Keep", { ...off, class: "main" }),
    keyed("d", n ? `Drop ${n}` : "Drop", off), ...labels,
    ...(dropped ? [keyed("r", "Restore")] : []),
    keyed("n", "Next", { ...off, title: many ? "Next page" : "Next photo" }));
}

function decisionOf(r) {
  const item = r.pending;
  if (item) return { keep: "Kept", drop: "Dropped", restore: "Restored", relabel: `Now ${item.label}` }[item.action] + " (storing)";
  if (r.status === "dropped") return "Dropped";
  if (!r.decision) return r.status === "ok" ? "" : `Not in use: ${r.status}`;
  return { keep: "Kept", relabel: `Relabelled from ${r.decision.old}`, restore: "Restored" }[r.decision.action] || r.decision.action;
}

function ended() {
  const p = S.progress;
  const none = !S.of && !S.rows.length;
  return h("div", { class: "end" },
    h("h2", {}, none ? "No photo fits this filter" : "That is the end of this list"),
    p && h("p", { class: "soft" }, `${p.looked} of ${p.of} looked at. ${p.stop}.`),
    keyed("p", "Back"), h("button", { onclick: () => chooseFilter({ state: "open" }) }, "From the start, what is still open"));
}

let drawing = 0;
async function drawOne() {
  const r = row(), turn = (drawing += 1);
  if (!r) { $("main").replaceChildren(ended()); return; }
  const about = `photo labelled ${r.label}, suspect ${r.place} of ${S.of}`;
  const image = h("img", { src: photoUrl(r.sha256, 1000), alt: about });
  const figure = h("figure", {}, image, h("div", { class: "badges" },
    h("span", { class: "badge" }, `${r.place} of ${S.of}`),
    r.split === "test" && h("span", { class: "badge test" }, "Test split", h("span", { class: "wide" }, ": changes what the model is judged by")),
    decisionOf(r) && h("span", { class: "badge set" }, decisionOf(r))));
  image.addEventListener("error", async () => {
    const why = await ask(photoUrl(r.sha256, 1000)).catch((error) => error);
    image.replaceWith(h("div", { class: "unseen", role: "img", "aria-label": about }, `This photo cannot be shown: ${why.message}`));
  });
  const differs = r.suggested && r.suggested !== r.label;
  const side = h("aside", { "aria-label": "About this photo" },
    h("div", {}, h("h2", {}, `Label now · probability of a fault ${percent(r.score)}`),
      h("p", { class: "now" }, r.label, ...(differs ? [h("span", { class: "no" }, " → "), h("span", { class: "to" }, `${r.suggested}?`)] : [])),
      h("ul", { class: "reasons" }, ...r.reasons.map((reason) => h("li", {}, reason)))));
  $("main").replaceChildren(h("div", { class: "one", "data-sha": r.sha256 }, figure, side));
  preload();
  try {
    const all = await full(r);
    if (turn !== drawing) return;
    if (!r.pending && all.based > r.based && (all.label !== r.label || all.status !== r.status)) {
      Object.assign(r, all, { place: r.place }); // another window's decision: show it
      draw();
      return;
    }
    side.append(...details(r, all));
    side.parentNode.dataset.ready = "1";
  } catch (error) {
    if (turn === drawing) side.append(h("p", { class: "soft" }, error.message));
  }
}

function details(r, all) {
  const bars = Object.entries(all.probabilities).sort((a, b) => b[1] - a[1]).map(([label, p]) => {
    const bar = h("div");
    bar.style.width = `${100 * p}%`;
    return h("div", { class: "prob" }, h("span", { class: label === r.label ? "mine" : "", title: label }, label),
      h("div", { class: "rail", "aria-hidden": "true" }, bar), h("span", {}, percent(p)));
  });
  const near = all.neighbours.map((n) => h("figure", { class: n.label === r.label ? "" : "differs" },
    h("img", { src: photoUrl(n.sha256, 160), alt: `similar photo labelled ${n.label}`, loading: "lazy" }),
    h("figcaption", { title: n.label }, n.label)));
  const past = all.history.map((e) => h("li", {},
    `${when(e.at)} ${e.action}${e.old !== e.new ? `: ${e.old} → ${e.new}` : ""}, ${e.who}`));
  return [
    bars.length && h("div", {}, h("h2", {}, "The first model, which did not learn from it"), ...bars),
    near.length && h("div", {}, h("h2", {}, "Most similar photos"), h("div", { class: "near" }, ...near)),
    past.length && h("div", {}, h("h2", {}, "History"), h("ul", { class: "past" }, ...past)),
    h("p", { class: "origin" }, `${all.width} × ${all.height}, ${all.split || "no"} split. ${all.origin}`),
  ].filter(Boolean);
}

function preload() {
  for (const r of S.rows.slice(S.at + 1, S.at + 3)) {
    new Image().src = photoUrl(r.sha256, 1000);
    full(r).catch(() => {});
  }
}

function drawGrid() {
  const shown = S.rows.slice(S.first, S.first + S.many);
  if (!shown.length) { $("main").replaceChildren(ended()); return; }
  S.cursor = Math.min(S.cursor, shown.length - 1);
  const sheet = h("div", { class: `sheet${S.many > 24 ? " small" : ""}`, role: "group", "aria-label": "Photos" },
    ...shown.map((r, n) => {
      const about = `photo labelled ${r.label}, suspect ${r.place} of ${S.of}`;
      const thumb = h("button", { class: "thumb", "data-sha": r.sha256, "aria-pressed": "false", tabindex: n === S.cursor ? 0 : -1, title: r.reasons.join("; "),
        onclick: () => toggle(r, n), onfocus: () => { S.cursor = n; }, ondblclick: () => { S.cursor = n; setView("one"); } },
        h("img", { src: photoUrl(r.sha256, 400), alt: about, loading: "lazy" }), h("b"), h("small"));
      thumb.addEventListener("keydown", (event) => {
        if (event.key === "Enter") { event.preventDefault(); event.stopPropagation(); S.cursor = n; setView("one"); }
      });
      return thumb;
    }));
  const range = `${shown[0].place} to ${shown.at(-1).place} of ${S.of}`;
  $("main").replaceChildren(h("div", { class: "grid" }, h("p", { class: "soft small", id: "range" }, range), sheet));
  drawGridMarks();
}

function toggle(r, n) {
  if (!S.chosen.delete(r.sha256)) S.chosen.add(r.sha256);
  S.cursor = n;
  unconfirm();
  drawGridMarks();
}

function drawGridMarks() {
  if (S.view !== "grid") return;
  for (const thumb of document.querySelectorAll(".thumb")) {
    const r = rowOf(thumb.dataset.sha);
    const [, title, small] = thumb.children;
    const done = decisionOf(r);
    thumb.setAttribute("aria-pressed", S.chosen.has(r.sha256));
    thumb.classList.toggle("decided", Boolean(done));
    title.replaceChildren(r.label, ...(r.suggested && r.suggested !== r.label && !done ? [" → ", h("span", { class: "to" }, `${r.suggested}?`)] : []));
    small.textContent = done || `${percent(r.score)} · ${r.reasons[0] || r.kind}`;
    thumb.querySelector(".badge")?.remove();
    if (r.split === "test") thumb.append(h("span", { class: "badge test" }, "test"));
  }
  const n = S.chosen.size;
  $("range").textContent = $("range").textContent.split(";")[0] + (n ? `; ${n} selected` : "");
  drawActions();
}

function drawOutbox() {
  const shown = [...outbox.values()].filter((e) => e.state !== "waiting" || e.sentence);
  $("outbox").hidden = !shown.length;
  $("outbox").replaceChildren(
    h("div", { class: "head" }, h("h2", {}, `Not stored yet (${shown.length})`), h("button", { onclick: drain }, "Try again")),
    h("ul", {}, ...shown.map((e) => h("li", { "data-state": e.state },
      h("img", { src: photoUrl(e.items[0].sha256, 160), alt: "" }),
      h("p", {}, h("b", {}, e.words), ". ", e.sentence),
      ...(e.state === "conflict" ? [keyed("o", "Overwrite", { onclick: (event) => { event.stopPropagation(); overwrite(e); } }),
        h("button", { onclick: () => takeStored(e) }, "Reload what is stored")]
        : [h("button", { onclick: () => { forget(e); unmark(e); draw(); } }, "Discard")])))));
}

// -- start -------------------------------------------------------------------------------------

async function chooseFilter(change) {
  const here = row()?.sha256 || "";
  Object.assign(S.filter, change);
  unconfirm();
  try {
    await load(change.state === "open" && Object.keys(change).length === 1 && !here ? "" : here);
    draw();
  } catch (error) {
    toast(error.message);
  }
}

window.addEventListener("storage", (event) => { // the other window has stored or discarded it
  if (!S.project || !event.key?.startsWith(box()) || event.newValue) return;
  const entry = outbox.get(event.key.slice(box().length));
  if (!entry) return;
  outbox.delete(entry.request);
  unmark(entry);
  drawOutbox();
});

async function start() {
  try {
    const at = readHash();
    S.project = await ask("api/project");
    document.title = `Review: ${S.project.name}`;
    $("name").textContent = `Review ${S.project.name}`;
    $("keys").replaceChildren(...KEYS.map(([key, does]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, does))));
    for (const name of Object.keys(S.filter)) {
      $(`f-${name}`).addEventListener("change", (event) => chooseFilter({ [name]: event.target.value }));
    }
    $("many").value = S.many;
    $("many").addEventListener("change", (event) => { S.many = Number(event.target.value); draw(); });
    const left = Object.keys(localStorage).filter((key) => key.startsWith(box()))
      .map((key) => JSON.parse(localStorage.getItem(key))).sort((a, b) => a.at - b.at);
    left.forEach((entry) => outbox.set(entry.request, entry));
    await load(at);
    left.forEach(mark);
    draw();
    drain();
  } catch (error) {
    $("main").replaceChildren(h("div", { class: "end" }, h("h2", {}, "The page cannot start"),
      h("p", { class: "soft" }, error.message), h("button", { onclick: () => location.reload() }, "Try again")));
  }
}

start();
