// Requests to the server, with the name of who decides.
import { askJson } from "./answers.js";

let who = () => "";

/** Who decides: a function that returns the name, sent with everything that changes something. */
export const signedBy = (name) => { who = name; };

const SERVER = {
  gone: "The server does not answer; start bears review again, this page waits for it",
  strange: (status) => `the server answers ${status}`,
  seconds: 20,
};

/** What the server answers; with a body it is a POST. Throws Answer. */
export const ask = (path, body) => askJson(path, body && (who() ? { ...body, who: who() } : body), SERVER);
