// Groups of look-alikes within a class, each a row of pictures; and one group as a grid.
import { $, h, heard, keyed, photoUrl, plural, toast } from "../dom.js";
import { decisionOf } from "../decide.js";
import { labelButtons } from "../frame.js";
import { ask } from "../server.js";
import { chooseAll, chosenRows, isOpen, sheet, sheetArrow, sheetMarks } from "../sheet.js";
import { S, adopt, draw, drawMarks, rowOf, setView } from "../state.js";
import { showError, showLoading } from "./loading.js";
import { openAlike } from "./alike.js";

const PAGE = 20; // groups
const V = { groups: null, total: 0, offset: 0, at: 0, inside: null, error: null, label: "" };

const group = () => V.groups?.[V.at];
const rowsOf = (g) => g.sha256.map(rowOf).filter(Boolean);
const openOf = (g) => rowsOf(g).filter(isOpen);

async function fetchGroups() {
  const { offset } = V, { label } = S.filter;
  try {
    const page = await ask(`api/groups?label=${encodeURIComponent(label)}&offset=${offset}&limit=${PAGE}`);
    if (page.making) {
      if (S.view === "groups") setTimeout(fetchGroups, 300);
      return;
    }
    const wanted = page.groups.flatMap((g) => g.sha256).filter((sha) => !rowOf(sha)?.reasons);
    page.groups.forEach((g) => adopt(g.rows));
    for (let from = 0; from < wanted.length; from += 1000) { // a decision is about all of a group
      adopt((await ask("api/rows", { sha256: wanted.slice(from, from + 1000) })).rows);
    }
    if (offset !== V.offset || label !== S.filter.label) return;
    Object.assign(V, { groups: page.groups, total: page.total, at: Math.min(V.at, Math.max(0, page.groups.length - 1)), error: null, label });
  } catch (error) {
    V.error = error;
  }
  if (S.view === "groups") draw();
}

function begin(offset = 0) {
  Object.assign(V, { groups: null, offset, at: 0, inside: null, error: null });
  fetchGroups();
}

function openGroup(n) {
  V.at = n;
  V.inside = group();
  S.chosen.clear();
  S.cursor = 0;
  draw();
  $("main").querySelector(".thumb")?.focus({ preventScroll: true });
}

function leave() {
  V.inside = null;
  S.chosen.clear();
  draw();
  focusGroup();
}

function focusGroup() {
  const parts = [...document.querySelectorAll(".group")];
  parts.forEach((part, n) => part.classList.toggle("at", n === V.at));
  parts[V.at]?.querySelector("button")?.focus({ preventScroll: true });
  parts[V.at]?.scrollIntoView({ block: "nearest" });
}

function stateWords(g) {
  const rows = rowsOf(g), open = openOf(g).length;
  const dropped = rows.filter((r) => r.status === "dropped" || r.pending?.action === "drop").length;
  const said = rows.length - open - dropped;
  return [`${open} open`, said && `${said} kept or relabelled`, dropped && `${dropped} dropped`].filter(Boolean).join(", ");
}

function drawGroups() {
  const last = V.offset + V.groups.length;
  $("main").replaceChildren(h("div", { class: "grid groups" },
    h("p", { class: "soft small", id: "range" }, V.total
      ? `Groups of look-alikes, the ones most unlike their class first: ${V.offset + 1} to ${last} of ${V.total}`
      : "No group of look-alikes stands out"),
    ...V.groups.map((g, n) => h("div", { class: "group", role: "group", "data-number": g.number, "aria-labelledby": `group-${n}` },
      h("div", { class: "head" },
        h("div", {}, h("h2", { id: `group-${n}` }, g.title), h("p", { class: "soft small why" }, g.why.join(". ")), h("p", { class: "soft small state" })),
        h("button", { onclick: () => openGroup(n), onfocus: () => { if (V.at !== n) { V.at = n; drawMarks(); } } }, h("kbd", {}, "↵"), h("span", {}, "Open"), heard(g.title))),
      h("div", { class: "strip", onclick: () => openGroup(n) }, ...g.rows.map((r) =>
        h("img", { src: photoUrl(r.sha256, 160), "data-sha": r.sha256, alt: `photo labelled ${r.label}`, loading: "lazy" })))))));
  marksOfGroups();
}

function marksOfGroups() {
  document.querySelectorAll(".group").forEach((part, n) => {
    part.classList.toggle("at", n === V.at);
    part.querySelector(".state").textContent = stateWords(V.groups[n]);
    part.querySelectorAll("img").forEach((img) => img.classList.toggle("decided", Boolean(decisionOf(rowOf(img.dataset.sha)))));
  });
}

function drawInside() {
  const g = V.inside;
  const photos = sheet(rowsOf(g), {
    small: true, about: (r) => `photo labelled ${r.label}`, open: (n) => openAlike(rowsOf(g)[n].sha256) });
  $("main").replaceChildren(h("div", { class: "grid" },
    h("div", { class: "head" }, h("h2", {}, g.title), keyed("p", "Back")),
    h("p", { class: "soft small" }, g.why.join(". ")), h("p", { class: "soft small", id: "range" }, plural(g.sha256.length, "photo")), photos));
  sheetMarks();
}

export const groups = {
  name: "groups",
  key: "c",
  title: "Groups",
  hidden: () => Boolean(S.project.unranked),
  place: () => "",
  here: () => (V.inside ? rowsOf(V.inside)[S.cursor]?.sha256 : group()?.sha256[0]),
  enter(before) { if (before?.name !== "alike" || V.label !== S.filter.label || !V.groups) begin(); },
  draw() {
    if (V.error) { showError(V.error, () => { begin(); draw(); }); return; }
    if (V.groups && V.label !== S.filter.label) begin();
    if (!V.groups) { showLoading("Looking for groups of look-alikes; the first time this takes a while"); return; }
    if (V.inside) drawInside();
    else drawGroups();
  },
  marks() {
    if (!V.groups) return;
    if (V.inside) sheetMarks();
    else marksOfGroups();
  },
  stored: drawMarks,
  none: () => (V.inside ? "Every photo of this group is decided; select some to decide again" : "Every photo of this group is decided; open it to decide again"),
  subjects(action) {
    if (!group()) return [];
    if (V.inside && S.chosen.size) return chosenRows();
    return action === "restore" ? rowsOf(group()).filter((r) => r.status === "dropped") : openOf(group());
  },
  decided() {
    S.chosen.clear();
    if (V.inside) { drawMarks(); return; }
    if (V.at < V.groups.length - 1) V.at += 1;
    drawMarks();
    focusGroup();
  },
  undone(rows) {
    const back = V.groups?.findIndex((g) => rows.some((r) => g.sha256.includes(r.sha256)));
    if (back >= 0 && !V.inside) V.at = back;
  },
  go(steps) {
    if (V.inside) { if (steps < 0) leave(); return; }
    const to = V.offset + steps * PAGE;
    if (to < 0 || to >= V.total) { toast(to < 0 ? "These are the first groups" : "These are the last groups"); return; }
    begin(to);
    draw();
  },
  arrow(key, event) {
    if (V.inside) return sheetArrow(key, event);
    const by = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (!by || !V.groups) return false;
    V.at = Math.max(0, Math.min(V.groups.length - 1, V.at + by));
    drawMarks();
    focusGroup();
    return true;
  },
  escape() {
    if (S.chosen.size) return false;
    if (V.inside) leave();
    else setView("one");
    return true;
  },
  pressed(key) {
    if (key === "Enter" && !V.inside && group()) { openGroup(V.at); return true; }
    if (key === "a" && V.inside) { chooseAll(); return true; }
    return false;
  },
  buttons() {
    const g = group(), off = { disabled: !g };
    const n = !g ? 0 : V.inside && S.chosen.size ? S.chosen.size : openOf(g).length;
    return [
      keyed("p", "Back", { title: V.inside ? "All groups" : "Previous groups" }),
      ...(V.inside ? [keyed("a", "All or none")] : []),
      keyed("k", `Keep ${n}`, { ...off, class: "main" }), keyed("d", `Drop ${n}`, off), ...labelButtons(off),
      keyed("r", "Restore", off), ...(V.inside ? [] : [keyed("n", "Next groups", off)])];
  },
};
