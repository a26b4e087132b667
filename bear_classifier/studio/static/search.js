// Search the web for photos of the classes: where, what may be done with them, and how many.
import { h } from "./parts.js";
import { doing } from "./blocks.js";
import { startJob } from "./requests.js";
import { S, address, busyOf, lastTook } from "./store.js";
import { photos, time } from "./words.js";

const SOURCES = [
  ["openverse", "Openly licensed photos (Openverse)", "Their authors allow sharing, and author and licence are kept with each photo, so that you may publish them with the attribution that the studio writes. Fewer photos, often of fewer kinds."],
  ["web", "Any photos (web search)", "The pictures of a web search. Mostly nobody knows their licence: they do to train on and to try out, but do not publish the photos themselves."],
];
const LICENCES = [["any", "Any open licence"], ["share", "May be shared"], ["commercial", "May be used commercially"], ["public", "Public domain"]];
const MOST = 1000;

/** The form, and `of(label)`: choose a class and go there. A search runs as a job, and the photos appear in the columns as they come in. */
export function searchForm() {
  const status = h("p", { class: "soft", role: "status" }), what = h("p", {});
  const licence = h("select", { id: "licence" }, ...LICENCES.map(([value, words]) => h("option", { value }, words)));
  const licenceBox = h("label", { class: "field" }, h("span", {}, "What the author allows"), licence);
  const per = h("input", { id: "per-class", type: "number", min: 1, max: MOST, value: 100, inputmode: "numeric", oninput: say });
  const only = h("select", { id: "only-class", onchange: say });
  let source = SOURCES[0][0], labels = [];
  const radios = SOURCES.map(([value, words, about], n) => h("label", { class: "option" },
    h("input", { type: "radio", name: "source", value, checked: n === 0, onchange: () => { source = value; licenceBox.hidden = source !== "openverse"; say(); } }),
    h("span", {}, h("strong", {}, words), h("span", { class: "soft small" }, about))));
  /** What a search will ask for and how long it may take. */
  function say() {
    const each = Number(per.value) || 0, n = (only.value ? 1 : S.state.labels.length) * each, took = lastTook("search");
    const whose = only.value ? `of ${only.value}; those that earlier searches found count` : `${per.value} of each class`;
    what.textContent = n ? `It looks for up to ${photos(n)}${only.value ? " " : ", "}${whose}, and takes some minutes: search engines and hosts are asked politely, a few requests at once.${took ? ` The last search took ${time(took)}.` : ""} Not every photo that is found can be downloaded; those that are refused are counted with their reasons.`
      : "Say how many.";
  }

  async function begin() {
    const n = Math.round(Number(per.value));
    if (!(n >= 1 && n <= MOST)) throw new Error(`The number of photos for each class is between 1 and ${MOST}.`);
    await startJob(S.project, "search", { source, licence: source === "openverse" ? licence.value : "any", per_class: n, only_class: only.value });
  }

  /** The classes to choose from; the chosen one stays while it is there. */
  function choices(now) {
    if (JSON.stringify(now) === JSON.stringify(labels)) return;
    const chosen = now.includes(only.value) ? only.value : "";
    labels = [...now];
    only.replaceChildren(h("option", { value: "" }, "All classes"), ...labels.map((label) => h("option", { value: label }, label)));
    only.value = chosen;
  }

  const node = h("section", { class: "card search", "aria-labelledby": "search-title" }, h("h2", { id: "search-title" }, "Search the web for photos"),
    h("div", { class: "options", role: "radiogroup", "aria-labelledby": "search-title" }, ...radios),
    h("div", { class: "fields" }, h("label", { class: "field" }, h("span", {}, "Search for"), only), licenceBox, h("label", { class: "field" }, h("span", {}, "Photos of each class"), per)),
    h("p", { class: "soft small" }, "What is searched for is set in the step ", h("a", { href: "#", id: "to-queries" }, "Name"), "."), what,
    h("div", { class: "tools" }, doing("Search for photos", begin, { class: "main" })), status);

  return { node, of(label) {
    only.value = label;
    say();
    node.scrollIntoView({ block: "center" });
    only.focus({ preventScroll: true });
  }, update(state) {
    choices(state.labels);
    node.querySelector("#to-queries").href = address(S.project, "name");
    const job = busyOf("search");
    status.textContent = job ? (job.state === "waiting" ? "A search waits for its turn." : "A search is running; what it finds appears below.") : "";
    node.classList.toggle("busy", Boolean(job));
    say();
  } };
}

