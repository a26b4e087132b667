// A page without a server works offline after the first visit, and says when it was replaced.
import { $ } from "./page_parts.js";

const SEEN = "version";

/** published: the version of these files. */
export async function workOffline(published) {
  let before = null;
  try {
    before = localStorage.getItem(SEEN);
    localStorage.setItem(SEEN, published);
  } catch { /* storage is refused: nothing is said */ }
  if (before && before !== published) $("news").textContent = "This page was updated since your last visit.";
  if (!("serviceWorker" in navigator)) return;
  try {
    const made = await navigator.serviceWorker.register("sw.js", { type: "classic" });
    await navigator.serviceWorker.ready;
    document.body.dataset.offline = "ready";
    await made.update(); // at each visit: browsers put it off while a page is in use
  } catch { /* such as on plain http from another machine: the page works while there is a network */ }
}
