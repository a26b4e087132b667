// Answers in sentences, as serve/messages.py words them; a test holds both to the same words.
const CERTAIN = 0.99, SURE = 0.9, LIKELY = 0.6; // calibrated probability
const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

export const listed = (labels) => `${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}`;

/** answer: {probabilities by label, in their order; confidence; reason}. */
export function sentence({ probabilities, confidence, reason }) {
  const labels = Object.keys(probabilities);
  if (reason === "unlike_training") {
    return `This does not look like any of the ${NUMBERS[labels.length] ?? labels.length}: ${listed(labels)}.`;
  }
  const [first, second] = [...labels].sort((a, b) => probabilities[b] - probabilities[a]);
  if (reason === "too_close" || confidence < LIKELY) return `Between ${first} and ${second}: too close to call.`;
  if (confidence < SURE) return `Probably ${first}.`;
  const letter = String.fromCodePoint(first.codePointAt(0));
  return `${letter.toUpperCase()}${first.slice(letter.length)}, ${confidence >= CERTAIN ? "almost certainly" : "quite sure"}.`;
}
