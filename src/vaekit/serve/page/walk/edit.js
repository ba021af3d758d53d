// Edit exposure, contrast and warmth in latent space, beside the same edit of pixels.
import { button, element } from "../shared/elements.js";
import { getJSON, vaePath } from "../parts/api.js";
import { Busy } from "../parts/busy.js";
import { Latest } from "../parts/latest.js";
import { channelStatistics, covering, decodeLatents, encodeCanvas, paint, sizeFor } from "../parts/latents.js";
import { signedFixed } from "../parts/numbers.js";
import { ImageInput } from "../parts/picture_input.js";
import { range } from "../parts/range.js";
import { withSamples } from "./first_use.js";
import { stage } from "./stage.js";
import { altered } from "./alterations.js";

const TITLES = { exposure: "Exposure", contrast: "Contrast", warmth: "Warmth" };
const rounded = (amount) => signedFixed(Math.round(100 * amount) / 100 || 0, 2); // without a sign of zero
const UNITS = {
  exposure: (amount) => `${rounded(amount)} stops`,
  contrast: (amount) => `\u00d7 ${(2 ** amount).toFixed(2)}`,
  warmth: (amount) => `${rounded(amount)} stops of red over blue`,
};

// Latents moved along directions by amounts, by name: shifts, then spreads, which need the moved mean.
export function edited(latents, directions, amounts) {
  const [, channels] = latents.shape;
  const count = latents.values.length / channels;
  const values = latents.values.slice();
  const statistics = channelStatistics(latents);
  for (let c = 0; c < channels; c++) {
    const sum = (kind) => directions.filter((each) => each.kind === kind).reduce((total, each) => total + amounts[each.name] * each.vector[c], 0);
    const { mean } = statistics[c];
    const [shift, factor] = [sum("shift"), Math.exp(sum("spread"))];
    for (let i = c * count; i < (c + 1) * count; i++) values[i] = mean + shift + (values[i] - mean) * factor;
  }
  return { ...latents, values };
}

export function edit() {
  const state = { vae: null, longest: 256, image: null, latents: null, canvas: null, directions: new Map(), turn: 0, ranges: [] };
  const busy = new Busy();
  const [view, pixels] = [stage("Edited in latent space"), stage("Edited in pixels")];
  const controls = element("div", { className: "walk-controls" });
  const input = new ImageInput((image) => { state.image = image; encode(); }, { longest: 1024, sized: false });
  const amounts = () => Object.fromEntries(state.ranges.map(({ name, slider }) => [name, slider.value]));
  const shown = new Latest(
    (wish) => decodeLatents(state.vae, edited(state.latents, state.directions.get(state.vae.name), wish)),
    (image) => paint(view.canvas, image), (is) => view.working(is));

  function show() {
    if (!state.latents) return undefined;
    paint(pixels.canvas, altered(state.canvas, amounts()));
    return shown.ask(amounts());
  }

  function offer(directions) {
    const before = amounts();
    state.ranges = directions.map(({ name, most }) => ({
      name,
      slider: range(TITLES[name], { min: -1.5 * most, max: 1.5 * most, step: 0.01, value: before[name] ?? 0, format: UNITS[name] }, show),
    }));
    const reset = button("Reset", "Set all to zero", () => state.ranges.forEach(({ slider }) => slider.set(0)));
    controls.replaceChildren(...state.ranges.map(({ slider }) => slider.element), element("div", { className: "tools" }, reset));
  }

  async function encode() {
    if (!state.image || !state.vae) return;
    const turn = ++state.turn;
    const { vae, image, directions } = state;
    const size = sizeFor(vae, image.width, image.height, state.longest);
    const canvas = covering(image.canvas, size);
    const latents = await busy.run("Encoding the image\u2026", async (signal, say) => {
      if (!directions.has(vae.name)) {
        say("Finding the directions of exposure, contrast and warmth with test images\u2026");
        directions.set(vae.name, (await getJSON(vaePath(vae.name, "directions"), { signal })).directions);
      }
      return encodeCanvas(vae, canvas, signal);
    });
    if (!latents || turn !== state.turn) return;
    Object.assign(state, { latents, canvas });
    offer(directions.get(vae.name));
    view.size(size);
    pixels.size(size);
    await show();
  }

  const figure = (stageOf, title, note) => element("figure", {}, stageOf.element,
    element("figcaption", {}, element("span", { textContent: title }), element("span", { className: "reading", textContent: note })));
  const root = element("div", { className: "walk-part" },
    element("div", { className: "walk-pair" },
      figure(view, "In latent space", "moved, then decoded"), figure(pixels, "In pixels", "for comparison")),
    controls,
    element("p", { className: "walk-verdict" }, "The directions were learned from test images whose light was changed by known amounts. Exposure and warmth shift all latents alike, and come close to the edit of pixels. Contrast stretches the differences between positions, and reaches only a part of the wanted change."),
    busy.element, input.element);
  return { element: root, use: withSamples(state, [input], encode) };
}
