// What the page knows. Who changes it says so; the frame and the view then draw it.

export const S = {
  project: null, view: "one", progress: null, confirm: null,
  filter: { label: "", reason: "", side: "", state: "open" },
  rows: [], at: 0, first: 0, of: 0, whole: false, many: 24, // of the queue: see queue.js
  full: new Map(), chosen: new Set(), cursor: 0,
};

export const row = () => S.rows[S.at];
export const rowOf = (sha) => S.rows.find((r) => r.sha256 === sha);
export const filters = () => new URLSearchParams(S.filter).toString();

const page = new EventTarget();

/** Say that all has to be drawn ("draw"), or the marks of the photos shown ("marks"), or that
 * decisions were stored ("stored"). */
export const tell = (what, detail) => page.dispatchEvent(new CustomEvent(what, { detail }));
export const on = (what, work) => page.addEventListener(what, (event) => work(event.detail));
export const draw = () => tell("draw");
export const drawMarks = () => tell("marks");

// -- views -------------------------------------------------------------------------------------

const views = new Map();

/** A view is an object; one module each in views/, added by review.js. name: in the address; key,
 * title: of its button, if it has one; draw(): puts it into main; marks(): draws anew what was
 * chosen and decided; stored(rows): after a decision was stored or undone; subjects(action): the
 * rows that a decision is about; decided(action): after it was pressed; enter(before): when it is
 * opened from that view; place(): the photo for the address; go(steps), arrow(key, event),
 * pressed(key): its keys, true if it used it; buttons(labels): of the toolbar. Only name, draw,
 * subjects and buttons have to be there. */
export const addView = (view) => views.set(view.name, view);
export const allViews = () => [...views.values()];
export const view = () => views.get(S.view);
export const hasView = (name) => views.has(name);

export function setView(name) {
  if (name === S.view) return;
  const before = view();
  S.view = name;
  S.chosen.clear();
  view().enter?.(before);
  draw();
}

// -- the address -------------------------------------------------------------------------------

/** Take view and filter from the address. Returns the photo to begin with. */
export function readHash() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(S.filter)) if (said.has(name)) S.filter[name] = said.get(name);
  S.view = hasView(said.get("view")) ? said.get("view") : "one";
  S.many = said.get("many") === "48" ? 48 : 24;
  return said.get("at") || "";
}

export function writeHash() {
  const here = view().place?.();
  const said = new URLSearchParams({ view: S.view, many: S.many, ...S.filter });
  if (here) said.set("at", here);
  history.replaceState(null, "", `#${said}`);
}
