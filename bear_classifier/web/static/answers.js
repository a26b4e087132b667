// Requests to the program behind a page, as JSON.

/** What went wrong. status 0: nothing answered. again: trying once more may help; lost: whether
 * nobody is there, or only a proxy. */
export class Answer extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
  get again() { return this.status === 0 || this.status >= 500; }
  get lost() { return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504; }
}

/** The Answer of a refusal. said: its JSON, if it has any; words: where it does not say why. */
export const refusal = (status, said, words) => {
  const error = said?.error || { code: "ERROR", message: words };
  return new Answer(status, error.code, error.message);
};

/** What the program answers; with a body it is a POST. gone: the sentence where nobody answers;
 * strange(status): the one for a refusal without a reason; seconds: to wait. Throws Answer. */
export async function askJson(path, body, { gone, strange, seconds }) {
  const how = { signal: AbortSignal.timeout(1000 * seconds) };
  if (body) {
    how.method = "POST";
    how.headers = { "Content-Type": "application/json", "X-Bears": "1" };
    how.body = JSON.stringify(body);
  }
  let answer, said;
  try {
    answer = await fetch(path, how);
    said = answer.status === 204 ? {} : await answer.json();
  } catch {
    throw new Answer(answer && !answer.ok ? answer.status : 0, "NO_SERVER", gone);
  }
  if (answer.ok) return said;
  throw refusal(answer.status, said, strange(answer.status));
}
