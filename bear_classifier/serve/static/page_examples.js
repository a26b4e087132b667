// Pictures to try the page with: drawn ones, which the model answers rightly.
import { $, h, say } from "./page_parts.js";

/** examples: [{label, image: its address}], or nothing; act(file) gets the one that is chosen. */
export function offerExamples(examples, act) {
  const some = examples || [];
  $("examples").hidden = !some.length;
  say($("examples-note"), "");
  $("examples-list").replaceChildren(...some.map(({ label, image }) => h("button",
    { type: "button", class: "example", title: `A drawn ${label}`, onclick: () => choose(label, image, act) },
    h("img", { src: image, alt: `Try a drawn picture: ${label}`, draggable: "false" }))));
}

async function choose(label, image, act) {
  try {
    const answer = await fetch(image);
    if (!answer.ok) throw new Error(answer.statusText);
    act(new File([await answer.blob()], `drawn ${label}.jpg`, { type: "image/jpeg" }));
    say($("examples-note"), "");
  } catch {
    say($("examples-note"), "The picture did not come. Check the connection, then try again.");
  }
}
