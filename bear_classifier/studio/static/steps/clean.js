// The review page in its place, and what its decisions change.
import { h, plural } from "../parts.js";
import { announce, block, doing } from "../blocks.js";
import { drawNotes } from "../notes.js";
import { resultsTable } from "../results.js";
import { startJob } from "../requests.js";
import { S, address, busyOf } from "../store.js";
import { photos } from "../words.js";

const place = () => `p/${encodeURIComponent(S.project)}/review/`;
let C = null;

/** A letter or digit that nothing else hears takes the keyboard into the review page. It decides
 * nothing itself: whoever pressed it may not have had a photo in sight. */
function toFrame(event) {
  const frame = C?.frame.querySelector("iframe");
  if (!frame?.isConnected || event.key.length !== 1 || event.key === " " || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target !== document.body && event.target !== document.getElementById("main")) return;
  event.preventDefault();
  frame.scrollIntoView({ block: "nearest" });
  frame.contentWindow.focus();
  announce("The keys go to the review page now.");
}

function lede(state) {
  if (!state.suspects) return state.photos.usable ? "There is no first model yet, so nothing is ranked. All photos can be looked at below." : "There are no photos yet.";
  const faults = state.suspects.expected_faults, n = state.suspects.waiting;
  if (!n) return "Every photo that is more likely to be a fault than not has been looked at.";
  return `${photos(n)} ${n === 1 ? "waits" : "wait"} to be looked at, the most suspect first.${faults == null ? "" : ` About ${Math.max(1, Math.round(faults))} of all photos are expected to be faults: a wrong label, or something else in the picture.`}`;
}

export const clean = {
  build(root, state) {
    C = { lede: h("p", { class: "lede", role: "status" }), notes: h("div"), again: h("div"), frame: h("div", { class: "frame" }), results: h("div") };
    root.replaceChildren(h("h1", {}, "Clean"), C.lede,
      h("p", { class: "soft" }, "The first model points out photos whose label it doubts. Keep them, drop them, or give them another class; each decision is stored at once and can be undone. A wrong label costs twice: it teaches something wrong, and it makes the error look larger than it is."),
      C.notes, C.again, C.frame, C.results,
      h("div", { class: "tools onward" }, h("a", { class: "button", href: address(S.project, "publish") }, "On to publishing")));
    document.addEventListener("keydown", toFrame); // once: it is the same function
    this.update(state);
  },
  update(state) {
    C.lede.textContent = lede(state);
    const n = state.decisions_since || 0, busy = busyOf("learn", "train");
    drawNotes(C.notes, "clean", (action) => action.step === "clean" || action.job === "train");
    block(C.again, [n, busy?.id], () => (n && !busy ? h("section", { class: "card act" }, h("h2", {}, `${plural(n, "decision")} since the last training`),
      h("p", {}, "They count from the next training on. It is then measured on the same test photos as the one before, so that you see what the cleaning was worth."),
      h("div", { class: "tools" }, doing(`Train again with ${plural(n, "decision")}`, async () => {
        const job = await startJob(S.project, "learn");
        await startJob(S.project, "train", { after: job.id });
      }, { class: "main", "data-focus": "again" }))) : busy ? h("p", { class: "soft" }, "A training is running. Decisions made now count from the next one on.") : []));
    const ranked = Boolean(state.suspects), there = state.photos.usable + state.photos.unlabelled > 0;
    block(C.frame, [S.project, there, ranked, state.suspects?.looks], () => (there ? [h("p", { class: "soft", id: "opening" }, "Opening the review page. The first time this may take a minute: the studio ranks all photos."),
      h("iframe", { src: place(), title: `Review of ${state.title || S.project}`, onload: () => document.getElementById("opening")?.remove() }),
      h("p", { class: "small" }, h("a", { href: place(), target: "_blank", rel: "noopener" }, "Open it on a page of its own"), " for the whole screen. Here its keys work once you have clicked into it or pressed any letter; ? lists them.")] : [h("a", { class: "button main", href: address(S.project, "photos") }, "Add photos")]));
    block(C.results, state.results || [], () => resultsTable(state.results || []));
  },
};
