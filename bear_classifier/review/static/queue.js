// The rows of the queue, most suspect first, fetched before they are needed.
import { toast } from "./dom.js";
import { ask } from "./server.js";
import { S, draw, filters, row, rowOf } from "./state.js";

const AHEAD = 60; // rows that are fetched before they are needed, so that nobody waits

export async function load(at = "") {
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

/** All that is known of a photo. */
export async function full(r) {
  if (!S.full.has(r.sha256)) S.full.set(r.sha256, await ask(`api/photo/${r.sha256}`));
  return S.full.get(r.sha256);
}

/** Rows as they are now; their places in the queue stay. */
export function refresh(rows) {
  for (const fresh of rows) {
    S.full.delete(fresh.sha256);
    const known = rowOf(fresh.sha256);
    if (known) Object.assign(known, fresh, { place: known.place, pending: null });
  }
}

let walking = false;

/** Move by so many pages. at: the row now; by: rows a page. Returns the new row, or null. */
export async function walk(steps, at, by) {
  if (walking) return null;
  const before = S.rows[0];
  let to = at + steps * by;
  try {
    walking = true;
    if (steps > 0 && to + by > S.rows.length && !S.whole) await more();
    if (to < 0 && (await earlier())) to += S.rows.indexOf(before);
  } catch (error) {
    toast(error.message);
    return null;
  } finally {
    walking = false;
  }
  S.chosen.clear();
  S.cursor = 0;
  to = Math.max(0, Math.min(to, S.rows.length));
  if (to + AHEAD > S.rows.length) more().catch(() => {});
  return to;
}

/** After a step: the new photo is drawn, and seen from its top; on a phone the whole page scrolls. */
export function walked() {
  draw();
  window.scrollTo(0, 0);
}

/** Change the filter; the photo that is shown stays, if it can. */
export async function chooseFilter(change) {
  const here = row()?.sha256 || "";
  Object.assign(S.filter, change);
  try {
    await load(change.state === "open" && Object.keys(change).length === 1 && !here ? "" : here);
    draw();
  } catch (error) {
    toast(error.message);
  }
}
