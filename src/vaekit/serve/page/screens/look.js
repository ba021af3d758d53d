// The screen Look: an image against its reconstructions by one VAE or several.
import { button, element } from "../shared/elements.js";
import { severalChoices } from "../shared/choices.js";
import { closeChipsOnEscape } from "../shared/chips.js";
import { latentFile, originalOf, reconstruction, release } from "../look/candidates.js";
import { exposureTable, histograms } from "../look/exposure.js";
import { labelOf } from "../look/labels.js";
import { latentView } from "../look/latents.js";
import { judged } from "../look/verdict.js";
import { differenceView, lensView, markChosen, sliderView } from "../look/views.js";
import { Busy } from "../parts/busy.js";
import { save, stemOf } from "../parts/download.js";
import { clearErrors } from "../parts/errors.js";
import { ImageInput } from "../parts/picture_input.js";
import { badge, named } from "../parts/vaes.js";

const MOST = 6; // VAEs at once: as many as there are colors.

export async function mount(root, vaes) {
  if (!vaes.length) {
    root.append(element("h1", { textContent: "Look" }),
      element("p", { className: "lead" }, "This server offers no VAE of images. ", element("a", { href: "#walk", textContent: "Walk" }), " through the latent spaces of those that it offers."));
    return;
  }
  const state = { image: null, chosen: [vaes.find((vae) => vae.default).name], shown: [], maps: null };
  const busy = new Busy();
  const results = element("div", { className: "results" });
  const picks = element("div", { className: "vae-choice" });

  function offerVAEs() {
    state.chosen = state.chosen.filter((name) => vaes.some((vae) => vae.name === name));
    if (!state.chosen.length) state.chosen = [vaes[0].name];
    const options = vaes.map((vae) => [vae.name, vae.name]);
    const group = severalChoices("VAEs", options, state.chosen, (names) => {
      state.chosen = names;
      limit();
      look();
    });
    function limit() {
      for (const [i, input] of group.querySelectorAll("input").entries()) {
        input.disabled = state.chosen.length >= MOST && !state.chosen.includes(vaes[i].name);
      }
    }
    limit();
    picks.replaceChildren(group);
  }

  async function look() {
    const { image } = state;
    if (!image) return;
    if (!state.chosen.length) {
      busy.cancel();
      results.replaceChildren(element("p", { className: "lead", textContent: "Choose at least one VAE." }));
      return;
    }
    clearErrors();
    const chosen = vaes.filter((vae) => state.chosen.includes(vae.name));
    const failures = [];
    const shown = await busy.run("Starting\u2026", async (signal, say) => {
      const original = await originalOf(image);
      const done = [original];
      for (const [position, vae] of chosen.entries()) {
        const count = chosen.length > 1 ? `${position + 1} of ${chosen.length}, ` : "";
        try {
          done.push(await reconstruction(vae, position, original, signal, (text) => say(count + text)));
        } catch (error) {
          if (!error.status) throw error; // Cancelled, unreachable or a fault of this page: the others would fail, too.
          failures.push(element("p", { className: "warning", role: "alert" }, named(badge(position), vae.name), `: ${error.message}`));
        }
      }
      return done;
    });
    if (!shown) return;
    release(state.shown);
    state.shown = shown;
    results.replaceChildren(...failures);
    if (shown.length > 1) show(shown);
  }

  function show(shown) {
    const reconstructions = shown.slice(1);
    const sides = { left: "original", right: reconstructions[0].key };
    const article = element("article", { className: "image current" });
    const levels = histograms(shown);
    const slider = sliderView(shown, sides, () => markChosen(levels, sides));
    const maps = differenceView(shown);
    state.maps = maps;
    article.append(slider, exposureTable(shown), verdictPart(shown), lensView(shown), ...(maps ? [maps.part] : []), levels,
      latentView(reconstructions), downloads(shown));
    results.append(article);
    maps?.paint();
  }

  // The verdict takes longer than the reconstructions, and cannot be stopped on the server: so it waits for a button.
  function verdictPart(shown) {
    const judging = new Busy();
    const start = button("Measure and judge", "Measure and judge", async () => {
      start.disabled = true;
      const found = await judging.run("Measuring\u2026 some forty properties of each reconstruction", (signal) => judged(shown.slice(1), state.image.png, signal));
      start.disabled = false;
      if (!found) return;
      const saving = button("Save the report (HTML)", "Save the report (HTML)", () => save(found.page, `${stemOf(state.image.name)}-report.html`));
      const all = element("details", { className: "all-measures" }, element("summary", { textContent: "All measures" }), found.measures);
      part.replaceChildren(found.ranking, all, element("div", { className: "tools" }, saving));
    });
    start.className = "primary";
    const part = element("section", { className: "verdict-part panel" },
      element("h2", { textContent: "Verdict" }),
      element("p", { className: "note", textContent: "What the VAE changed, in words and numbers, as in the report of vaekit compare: detail, color, tone, artefacts. It takes several times as long as the reconstruction." }),
      element("div", { className: "tools" }, start), judging.element);
    return part;
  }

  function downloads(shown) {
    const saving = new Busy();
    const stem = stemOf(state.image.name);
    const { png } = state.image;
    const rows = shown.slice(1).map((each) => element("li", {}, labelOf(each), element("span", { className: "tools" },
      button("Reconstruction (PNG)", `Save the reconstruction by ${each.name} as PNG`, () => save(each.png, `${stem}-${each.name}.png`)),
      button("Latents (safetensors)", `Save the latents of ${each.name}`, async () => {
        const file = await saving.run(`${each.name}: encoding\u2026`, (signal) => latentFile(each.vae, png, signal));
        if (file) save(file, `${stem}-${each.name}.latent.safetensors`);
      }))));
    const original = button("Image as the VAEs got it (PNG)", "Save the image as the VAEs got it", () => save(png, `${stem}.png`));
    return element("section", { className: "downloads" },
      element("h3", { textContent: "Save" }),
      element("p", { className: "where", textContent: "The files of latents are those of vaekit encode; vaekit decode reads them." }),
      element("ul", {}, ...rows), element("div", { className: "tools" }, original), saving.element);
  }

  const input = new ImageInput((image) => { state.image = image; look(); });
  offerVAEs();
  document.addEventListener("vaes", offerVAEs);
  document.addEventListener("theme", () => state.maps?.paint());
  closeChipsOnEscape();
  root.append(
    element("h1", { textContent: "Look" }),
    element("p", { className: "lead", textContent: "What does a VAE do to your image? It encodes it to latents and decodes them again; compare the result with the original." }),
    input.element, picks, busy.element, results);
}
