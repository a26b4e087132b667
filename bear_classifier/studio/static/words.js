// Figures, times and names in words.
import { plural } from "./parts.js";

/** A share as the report writes it; what is not certain is never shown as 0 or 100. */
export function share(p) {
  if (p == null) return "not known";
  if (p > 0 && p < 0.0005) return "under 0.1%";
  if (p < 1 && p > 0.9995) return "over 99.9%";
  return `${(100 * p).toFixed(1)}%`;
}

/** An interval of shares; none where no photo was measured. */
export const between = (interval) => (interval ? `${share(interval[0])} to ${share(interval[1])}` : "not known");

/** What an interval says of a figure; nothing where no photo was measured. */
export const certainty = (interval) => interval && `With so many photos it may be anything from ${between(interval)} (95% interval).`;

/** Seconds as people say them. */
export function time(seconds) {
  if (seconds < 1.5) return "a second";
  if (seconds < 55) return plural(Math.round(seconds), "second");
  if (seconds < 90 * 60) return plural(Math.max(1, Math.round(seconds / 60)), "minute");
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** Milliseconds of a time that the studio names: seconds since 1970 (jobs), or a text (models). */
export const millis = (at) => (typeof at === "number" ? 1000 * at : Date.parse(at || 0) || 0);

const clock = (t) => `${String(t.getHours()).padStart(2, "0")}:${String(t.getMinutes()).padStart(2, "0")}`;

/** When something was, today by the clock only. */
export function moment(at) {
  if (!at) return "";
  const t = new Date(millis(at));
  const today = t.toDateString() === new Date().toDateString();
  return today ? `at ${clock(t)}` : `on ${t.getFullYear()}-${String(t.getMonth() + 1).padStart(2, "0")}-${String(t.getDate()).padStart(2, "0")} at ${clock(t)}`;
}

export const number = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
export const photos = (n) => `${number(n)} ${n === 1 ? "photo" : "photos"}`;

export const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

/** What a stage does, by its name. */
const STAGES = {
  search: "looking for photos", download: "downloading photos", screen: "looking the photos through: broken ones, near-copies",
  split: "setting test photos aside", probe: "learning from the photos", clean: "looking for wrong labels",
  train: "going over the photos again and again", evaluate: "measuring it on the test photos", export: "packing the model and checking it",
};
export const stageWords = (name) => STAGES[name] || name;

/** What a job does, by its kind: while it runs, and as a thing that was done. */
const KINDS = {
  search: ["Searching for photos and downloading them", "search and download"],
  draw: ["Drawing bears", "drawing of bears"],
  "take-in": ["Taking in the photos that you sent", "taking in of photos"],
  "take-in-zip": ["Taking in the photos of the zip file", "taking in of a zip file"],
  "take-in-unlabelled": ["Taking in photos without a class", "taking in of photos without a class"],
  learn: ["Making the first model", "first model"],
  train: ["Fine-tuning the network", "fine-tuning"],
  report: ["Writing the report", "report"],
  static: ["Making the page that needs no server", "page without a server"],
  space: ["Making the Space folder", "Space folder"],
  "export-dataset": ["Packing the photos with their classes", "export of the photos"],
  look: ["Looking at all photos a second time", "second look"],
  curve: ["Measuring how much more photos would help", "learning curve"],
};
export const kindNow = (kind) => (KINDS[kind] || [`Working on ${kind}`])[0];
export const kindThing = (kind) => (KINDS[kind] || ["", kind])[1];
