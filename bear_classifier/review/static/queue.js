// The rows of the queue, fetched before they are needed. The rows up to S.seen were looked at, in
// this order; what follows them is the newest order, most suspect first.
import { toast } from "./dom.js";
import { ask } from "./server.js";
import { S, adopt, draw, filters, row, rowOf, tell } from "./state.js";

const AHEAD = 60; // rows that are fetched before they are needed, so that nobody waits
const PAGE = 100;

const rowsAfter = (rank, limit = PAGE) => ask(`api/queue?${filters()}&limit=${limit}&after=${rank}`);

export async function load(at = "") {
  const page = await ask(`api/queue?${filters()}&limit=${PAGE}&at=${encodeURIComponent(at)}`);
  S.full.clear();
  Object.assign(S, { rows: adopt(page.rows), of: page.of, at: 0, first: 0, seen: -1, cursor: 0,
    top: page.offset === 0, whole: page.rows.length < PAGE });
  S.chosen.clear();
  if (!S.top && page.offset <= PAGE) await earlier();
  S.progress = await ask(`api/progress?${filters()}`);
}

/** The rows up to this one are shown: they keep their places. */
export function looked(upto) {
  S.seen = Math.max(S.seen, Math.min(upto, S.rows.length - 1));
}

let turn = Promise.resolve();
const inTurn = (work) => { // one request for rows at a time
  turn = turn.then(work, work);
  return turn;
};

const unseen = (rows, upto) => {
  const there = new Set(S.rows.slice(0, upto).map((r) => r.sha256));
  return adopt(rows).filter((r) => !there.has(r.sha256));
};

const more = () => inTurn(async () => { // what follows the last row
  const rows = S.rows, many = rows.length;
  for (let rank = rows.at(-1)?.rank; many && !S.whole && rows.length === many;) {
    const page = await rowsAfter(rank);
    if (rows !== S.rows) return; // another filter was chosen meanwhile
    rows.push(...unseen(page.rows, rows.length));
    S.whole = page.rows.length < PAGE;
    rank = page.rows.at(-1)?.rank;
  }
});

let stale = false;

/** Decisions change the order: fetch anew the rows that were not looked at yet. */
export function anew() {
  stale = true;
  return inTurn(async () => {
    if (!stale) return; // one fetch is enough for several decisions
    stale = false;
    const rows = S.rows, found = [];
    if (!rows.length) return;
    let rank = S.top ? -1 : (await ask(`api/photo/${rows[0].sha256}`)).rank, page;
    do {
      page = await rowsAfter(rank, 2 * PAGE);
      if (rows !== S.rows) return;
      found.push(...unseen(page.rows, S.seen + 1));
      rank = page.rows.at(-1)?.rank;
    } while (page.rows.length === 2 * PAGE && found.length < PAGE);
    const ended = !row();
    S.rows.splice(S.seen + 1, Infinity, ...unseen(found, S.seen + 1)); // some were looked at meanwhile
    S.whole = page.rows.length < 2 * PAGE;
    if (ended && row()) draw();
    tell("ahead");
  }).catch(() => {}); // the rows that are there go on to be shown
}

async function earlier() { // what precedes the first row
  if (S.top || !S.rows.length) return false;
  const first = await ask(`api/photo/${S.rows[0].sha256}`); // its rank may be another one by now
  const page = await ask(`api/queue?${filters()}&limit=${PAGE}&before=${first.rank}`);
  const rows = unseen(page.rows, S.rows.length);
  S.rows.unshift(...rows);
  S.at += rows.length;
  S.first += rows.length;
  S.seen += rows.length;
  S.top = page.rows.length < PAGE;
  return rows.length > 0;
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
    adopt([fresh]);
    rowOf(fresh.sha256).pending = null;
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
