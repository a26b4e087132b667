// What the page knows. Who changes it says so; the frame and the view then draw it.

export const S = {
  project: null, view: "one", progress: null, confirm: null,
  filter: { label: "", reason: "", side: "", state: "open" },
  rows: [], at: 0, first: 0, seen: -1, of: 0, top: true, whole: false, many: 24, // of the queue: see queue.js
  full: new Map(), chosen: new Set(), cursor: 0,
};
const known = new Map(); // sha256 -> its row, the same one in every view

export const row = () => S.rows[S.at];
export const rowOf = (sha) => known.get(sha);

/** Rows as the server sent them: a photo that is known stays the same object, newer facts win. */
export const adopt = (rows) => rows.map((fresh) => {
  const old = known.get(fresh.sha256);
  if (!old) known.set(fresh.sha256, fresh);
  else if (fresh.based >= old.based) Object.assign(old, fresh, { place: fresh.place || old.place });
  return old || fresh;
});
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
 * title: of its button, if it has one; hidden(): whether the button is left out; draw(): puts it into main; marks(): draws anew what was
 * chosen and decided; stored(rows): after a decision was stored or undone; subjects(action): the
 * rows that a decision is about; none(): why there are none; decided(action): after it was pressed;
 * undone(rows): before it is drawn again; enter(before, at): when it is opened, from that view, about
 * that photo; place(): the photo for the address; here(): the photo that the keys are at; ahead():
 * what follows in the queue is new; go(steps), arrow(key, event), pressed(key), escape(): its keys,
 * true if it used it; buttons(): of the toolbar. Only name, draw, subjects and buttons have to be
 * there. */
export const addView = (view) => views.set(view.name, view);
export const allViews = () => [...views.values()];
export const view = () => views.get(S.view);
export const hasView = (name) => views.has(name);

/** Open a view. at: the photo that it is about, if it is about one. */
export function setView(name, at = "") {
  if (name === S.view && !at) return;
  const before = view();
  S.view = name;
  S.chosen.clear();
  view().enter?.(before, at);
  S.cursor = 0;
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
