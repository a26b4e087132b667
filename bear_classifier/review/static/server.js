// Requests to the server, as JSON.

let who = () => "";

/** Who decides: a function that returns the name, sent with everything that changes something. */
export const signedBy = (name) => { who = name; };

/** What went wrong. again: trying once more may help. */
export class Answer extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
  get again() { return this.status === 0 || this.status >= 500; }
}

/** What the server answers; with a body it is a POST. Throws Answer. */
export async function ask(path, body) {
  const how = { signal: AbortSignal.timeout(20000) };
  if (body) {
    how.method = "POST";
    how.headers = { "Content-Type": "application/json", "X-Bears": "1" };
    how.body = JSON.stringify(who() ? { ...body, who: who() } : body);
  }
  let answer, said;
  try {
    answer = await fetch(path, how);
    said = await answer.json();
  } catch {
    const gone = "The server does not answer; start bears review again, this page waits for it";
    throw new Answer(answer && !answer.ok ? answer.status : 0, "NO_SERVER", gone);
  }
  if (answer.ok) return said;
  const error = said.error || { code: "ERROR", message: `the server answers ${answer.status}` };
  throw new Answer(answer.status, error.code, error.message);
}
