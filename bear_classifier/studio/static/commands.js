// The drawer: each command that the studio ran, to be copied; and the log of one job.
import { $, h } from "./parts.js";
import { announce } from "./blocks.js";
import { ask, of } from "./requests.js";
import { S, jobs, on } from "./store.js";
import { kindThing, moment, time } from "./words.js";

let logOf = ""; // id of the job whose log is open

function copier(text, words = "Copy") {
  const button = h("button", { type: "button" }, words);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      button.textContent = "Select it and press Ctrl+C";
    }
    setTimeout(() => { button.textContent = words; }, 2000);
  });
  return button;
}

const close = () => h("button", { type: "button", onclick: () => $("drawer").close() }, "Close");

const quoted = (folder) => (/^[\w./~-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", "'\\''")}'`);
const whole = (row) => `cd ${quoted(row.cwd)}\n${row.command}`;

async function openCommands() {
  const box = $("drawer");
  logOf = "";
  box.replaceChildren(h("h2", { id: "drawer-title" }, "Commands that were run"), h("p", { class: "soft" }, "Asking the studio"), h("div", { class: "tools" }, close()));
  box.showModal();
  try {
    const rows = await ask(of(S.project, "commands"));
    const all = rows.map((row) => row.command);
    box.replaceChildren(h("h2", { id: "drawer-title" }, "Commands that were run"),
      h("p", { class: "soft" }, rows.length ? "Each button of the studio runs one of these. In a terminal they do the same, and the project can be opened there and here in turn."
        : "None yet. Each button that starts work runs a command, which is then listed here."),
      h("ol", { class: "lines" }, ...rows.map((row) => h("li", {},
        h("p", { class: "soft small" }, [moment(row.at), row.state].filter(Boolean).join(", ")),
        h("pre", { tabindex: 0 }, row.command), copier(whole(row), "Copy")))),
      rows[0] ? h("p", { class: "soft small" }, `In the folder ${rows[0].cwd}`) : null,
      h("div", { class: "tools" }, all.length > 1 ? copier([`cd ${quoted(rows[0].cwd)}`, ...all].join("\n"), "Copy all") : null, close()));
  } catch (error) {
    box.replaceChildren(h("h2", { id: "drawer-title" }, "Commands that were run"), h("p", { role: "alert" }, error.message), h("div", { class: "tools" }, close()));
  }
}

const STAGE = { begun: "at work", done: "done", "up to date": "was up to date" };

function drawLog() {
  const job = jobs().find((one) => one.id === logOf);
  if (!job || !$("drawer").open) return;
  $("log-stages").replaceChildren(...(job.stages || []).map((one) => h("tr", {}, h("th", { scope: "row" }, one.name),
    h("td", {}, STAGE[one.state] || one.state), h("td", {}, one.seconds ? time(one.seconds) : ""), h("td", { class: "soft" }, one.text || ""))));
  const log = $("log-lines"), end = log.scrollHeight - log.scrollTop - log.clientHeight < 30, lines = (job.log || []).join("\n");
  if (log.textContent !== lines) log.textContent = lines || "It has printed nothing yet.";
  if (end) log.scrollTop = log.scrollHeight;
}

/** The log of a job: its command, its stages, and its last lines, which go on while it runs. */
export function openLog(id) {
  const job = jobs().find((one) => one.id === id), box = $("drawer");
  if (!job) return;
  logOf = id;
  box.replaceChildren(h("h2", { id: "drawer-title" }, `Details: ${kindThing(job.kind)}`),
    h("pre", { tabindex: 0, "aria-label": "The command" }, job.command),
    h("table", {}, h("caption", { class: "heard" }, "Stages"), h("tbody", { id: "log-stages" })),
    h("h3", {}, "The last lines that it printed"), h("pre", { id: "log-lines", class: "log", tabindex: 0, "aria-label": "Log" }),
    h("div", { class: "tools" }, copier(job.command, "Copy the command"), close()));
  box.showModal();
  drawLog();
}

export function offerCommands() {
  $("commands-open").addEventListener("click", openCommands);
  $("drawer").addEventListener("close", () => { logOf = ""; });
  on("state", drawLog);
}
