// The verdict of `vaekit compare` in words: its report, of which parts are shown here, and which can be saved.
import { all, one } from "../shared/elements.js";
import { postBytes } from "../parts/api.js";

// Returns { ranking, measures, page }: two sections for this page, and the report as a Blob.
export async function judged(reconstructions, png, signal) {
  const query = new URLSearchParams(reconstructions.map(({ vae }) => ["vae", vae.name]));
  const answer = await postBytes(`/api/compare?${query}`, png, { type: "image/png", accept: "text/html", signal });
  const page = await answer.blob();
  const text = await page.text();
  const { candidates } = JSON.parse(partOf(text, "script", "numbers").textContent);
  const order = candidates.map(({ name }) => reconstructions.find(({ vae }) => vae.name === name).position);
  const [ranking, measures] = ["ranking", "measures"].map((id) => document.adoptNode(partOf(text, "section", id)));
  for (const part of [ranking, measures]) asHere(part, order);
  for (const part of [ranking, measures]) part.classList.toggle("alone", reconstructions.length === 1);
  one("h2", ranking).textContent = reconstructions.length === 1 ? "Verdict" : "Verdict, best first";
  return { ranking, measures, page };
}

// One element of the report. The report as a whole is not parsed: the policy of this page has no room for its styles.
function partOf(text, name, id) {
  const [, start] = new RegExp(`(<${name}[^>]* id="${id}")`).exec(text);
  const from = text.indexOf(start);
  const end = `</${name}>`;
  const part = text.slice(from, text.indexOf(end, from) + end.length);
  return one(`#${id}`, new DOMParser().parseFromString(part, "text/html"));
}

// Letters and colors of the report go by rank; here they stay those that were given before there was one.
function asHere(part, order) {
  for (const mark of all("[class*=candidate-]", part)) {
    const rank = [...mark.classList].map((name) => /^candidate-(\d)$/.exec(name)?.[1]).find(Boolean);
    if (rank === undefined) continue;
    const position = order[rank];
    mark.classList.replace(`candidate-${rank}`, `candidate-${position}`);
    if (mark.classList.contains("badge")) mark.textContent = String.fromCharCode(65 + position);
  }
}
