// Who answers: a server, or on a page without one the model in this browser.
import { server } from "./page_server.js";

const onDevice = document.body.dataset.engine === "device";

/** models(), classify(file, model, signal, sent), explain(file, model), correct(file, model, said, right). */
export const engine = onDevice ? (await import("./page_device.js")).device : server;
