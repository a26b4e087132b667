// Try the model, read its report, and take it away; each says who can reach it.
import { h, megabytes } from "../parts.js";
import { block, doing } from "../blocks.js";
import { jobWords } from "../jobbar.js";
import { drawNotes } from "../notes.js";
import { ask, startJob } from "../requests.js";
import { S, address, busyOf, lastOf, lastTook } from "../store.js";
import { between, moment, number, photos, share, time } from "../words.js";

const place = (rest) => `p/${encodeURIComponent(S.project)}/${rest}/`;
let P = null;

const reach = (words) => h("p", { class: "reach small" }, h("b", {}, "Who can reach it: "), words);

/** What can be made and downloaded: title, what it is, who can reach it, what it is good for. */
const MADE = [
  ["static", "A page that needs no server", "A zip file with a web page that answers in the visitor's browser, also offline. Unpack it onto any web space; photos never leave the visitor's device.", "nobody until you put it somewhere; then whoever can open that address."],
  ["space", "A folder for a Hugging Face Space", "A zip file that a free Space runs as it is.", "nobody until you upload it; then everybody, or the people that you choose there."],
  ["bundle", "The model itself", "A zip file with the network, its figures and its model card, for programs: Python, or any that reads ONNX.", "nobody but you, until you pass it on."],
  ["dataset", "The photos with their classes", "A zip file of the dataset in folders, with the split and where each photo comes from. Photos of other people: mind their licences.", "nobody but you, until you pass it on."],
];
const JOBS = { static: "static", space: "space", dataset: "export-dataset" };

function made(state, [kind, title, about, who]) {
  const file = (state.files || []).find((one) => one.kind === kind), job = JOBS[kind] && busyOf(JOBS[kind]), last = JOBS[kind] && lastOf(JOBS[kind]);
  const old = file && file.current === false;
  const make = JOBS[kind] && !job && (!file || old) ? doing(file ? "Make it anew" : "Make it", () => startJob(S.project, JOBS[kind]), { "data-focus": `make ${kind}` }) : null;
  return h("section", { class: "card" }, h("h2", {}, title), h("p", {}, about),
    job ? h("p", { role: "status" }, jobWords(job)) : null,
    make ? h("p", { class: "soft small" }, lastTook(JOBS[kind]) ? `Making it took ${time(lastTook(JOBS[kind]))} last time.` : "Making it takes a minute or so.") : null,
    !job && last?.state === "failed" ? h("p", { class: "trouble", role: "alert" }, last.error?.sentence || "It could not be made; see the details.") : null,
    old ? h("p", { class: "trouble" }, "This one is of an earlier model.") : null,
    h("div", { class: "tools" }, file ? h("a", { class: `button${old ? "" : " main"}`, href: file.href, download: file.name || "", "data-focus": `get ${kind}` }, `Download${file.bytes ? ` (${megabytes(file.bytes)})` : ""}`) : null, make),
    reach(file?.reach || who));
}

function verdict(state) {
  const m = state.model;
  if (!m) return "There is no model yet. The first one takes about a minute for 300 photos.";
  if (m.error == null || !m.interval) return "No test photo has judged the model yet, so nobody knows how often it is wrong. Add photos, and train again.";
  return `The model is wrong on ${m.error === 0 ? "none" : share(m.error)} of the photos (95% interval ${between(m.interval)}), measured on ${photos(m.n)} that it did not learn from. Tell whoever uses it.`;
}

export const publish = {
  build(root, state) {
    P = { reach: "whoever reaches this studio.", lede: h("p", { class: "lede", role: "status" }), notes: h("div"), cards: h("div", { class: "cards publish" }) };
    root.replaceChildren(h("h1", {}, "Publish"), P.lede, P.notes, P.cards);
    const mine = P;
    ask("api/projects").then((found) => {
      mine.reach = found.who_can_reach;
      if (mine === P && mine.cards.isConnected) this.update(S.state);
    }, () => {}); // the general sentence stays
    this.update(state);
  },
  update(state) {
    P.lede.textContent = verdict(state);
    drawNotes(P.notes, "publish");
    const jobs = Object.values(JOBS).map((kind) => busyOf(kind) || lastOf(kind)).filter(Boolean).map((job) => [job.id, job.state, jobWords(job)]);
    const report = busyOf("report");
    block(P.cards, [P.reach, state.model, state.files, state.links, jobs, report && jobWords(report)], () => (state.model ? [
      h("section", { class: "card" }, h("h2", {}, "Try it"), h("p", {}, "Show it photos, or what a camera sees. It says how sure it is, why, and when a picture is like none that it learned from."),
        h("div", { class: "tools" }, h("a", { class: "button main", href: place("try"), target: "_blank", rel: "noopener", "data-focus": "try" }, "Try it")), reach(`${P.reach} Photos that are tried are not kept.`)),
      h("section", { class: "card" }, h("h2", {}, "The report"), h("p", {}, "Every mistake with its picture, how far each figure can be trusted, and what the model should not be used for."),
        report ? h("p", { role: "status" }, jobWords(report)) : null,
        h("div", { class: "tools" }, state.links?.report === false ? null : h("a", { class: "button", href: place("report"), target: "_blank", rel: "noopener", "data-focus": "report" }, "Read the report"),
          report ? null : doing(state.links?.report === false ? "Write the report" : "Write it anew", () => startJob(S.project, "report"), { "data-focus": "write" })),
        reach("you; it is one file that you can send on.")),
      ...MADE.map((one) => made(state, one)),
      h("section", { class: "card" }, h("h2", {}, "A service on this computer"), h("p", {}, "In a terminal, in the folder of the project, this answers programs and people until it is stopped:"),
        h("pre", { tabindex: 0 }, `cd ${state.folder}\nbears serve models/${state.id}`), reach("this computer only; with --host others in your network, too.")),
    ] : [h("section", { class: "card act" }, h("h2", {}, "First a model"), h("p", {}, "What can be tried and taken away appears here when there is one."),
      h("div", { class: "tools" }, h("a", { class: "button main", href: address(S.project, "learn"), "data-focus": "learn" }, "Go to Learn")))]));
  },
};
