// Who answers: a server, or the model in this browser.
import { server } from "./page_server.js";

const inBrowser = async () => (await import("./page_device.js")).device;

/** Whether this page has no server. */
export const alone = document.body.dataset.engine === "device";

const KEY = "place of photos", HERE = "this device";

function chosenBefore() {
  try { return localStorage.getItem(KEY) === HERE; } catch { return false; } // storage is refused
}

/** classify(file, model, signal, sent), explain(file, model), correct(file, model, said, right); and of
 * this browser load(model), frame(). */
export let engine = alone || chosenBefore() ? await inBrowser() : server;

/** Whether photos stay on this device. */
export const isHere = () => engine !== server;

export async function answerHere(on) {
  engine = on ? await inBrowser() : server;
}

/** For the next visit. */
export function rememberPlace() {
  try { localStorage.setItem(KEY, isHere() ? HERE : "server"); } catch { /* for this visit only */ }
}
