// The screen VAEs: what is offered and what is known about it, files to inspect, conversions.
import { button, element } from "../shared/elements.js";
import { conversion } from "../offered/convert.js";
import { factList, factsOfWeights, fp16Fact, headline, mainFacts, moreFacts, problemList } from "../offered/facts.js";
import { fileInspector } from "../offered/inspect_file.js";
import { Busy } from "../parts/busy.js";
import { refreshVAEs, unusableFiles } from "../parts/vaes.js";

function tag(text, kind = "") {
  return element("span", { className: `tag ${kind}`, textContent: text });
}

function card(vae) {
  const tags = [
    ...(vae.default ? [tag("default")] : []),
    ...(vae.fp16 === "unsafe" ? [tag("fp16 unsafe", "bad")] : []),
    ...(vae.halves.length === 1 ? [tag(`${vae.halves[0]} only`, "bad")] : []),
  ];
  const same = vae.duplicates.length
    ? [element("p", { className: "same" }, "The same weights as ", element("b", {}, vae.duplicates.join(", ")), ".")] : [];
  return element("li", { className: "panel vae" },
    element("h3", {}, element("bdi", {}, vae.name), ...tags),
    element("p", { className: "headline", textContent: headline(vae) }),
    ...same, ...problemList(vae.problems),
    factList([...mainFacts(vae), fp16Fact(vae)]),
    element("details", { className: "more" }, element("summary", { textContent: "Details" }), factList([...moreFacts(vae), ...factsOfWeights(vae)])),
    conversion(vae));
}

export async function mount(root, vaes) {
  const list = element("ul", { id: "vaes", className: "vae-list" });
  const count = element("p", { className: "lead" });
  const others = element("section", {});
  const busy = new Busy();

  function show() {
    count.textContent = vaes.length === 1
      ? "This server offers one VAE. Start it with --vae or --models to offer others."
      : `This server offers ${vaes.length} VAEs: those that it was started with, and those in its models folders.`;
    list.replaceChildren(...vaes.map(card));
    const unusable = unusableFiles();
    others.hidden = !unusable.length;
    others.replaceChildren(
      element("h2", { textContent: "Not usable" }),
      element("p", { className: "note", textContent: "Files in the models folders that cannot be offered, and why." }),
      element("dl", { className: "unusable" }, ...unusable.flatMap(({ name, reason }) => [
        element("dt", {}, element("bdi", {}, name)), element("dd", { textContent: reason })])));
  }

  const refresh = button("Look into the folders again", "Look into the models folders again", () => busy.run("Looking\u2026 new files are read once", refreshVAEs));
  document.addEventListener("vaes", show);
  show();
  root.append(element("h1", { textContent: "VAEs" }), count, list, others,
    element("div", { className: "tools" }, refresh), busy.element, fileInspector());
}
