// Along an axis: one latent channel of an image, moved by the same amount at all positions.
import { element } from "../shared/elements.js";
import { Busy } from "../parts/busy.js";
import { Latest } from "../parts/latest.js";
import { channelStatistics, covering, decodeLatents, encodeCanvas, paint, sizeFor } from "../parts/latents.js";
import { signedFixed } from "../parts/numbers.js";
import { ImageInput } from "../parts/picture_input.js";
import { range } from "../parts/range.js";
import { withSamples } from "./first_use.js";
import { stage } from "./stage.js";

const FARTHEST = 3; // Standard deviations.

export function alongAxis() {
  const state = { vae: null, longest: 256, image: null, latents: null, turn: 0 };
  const busy = new Busy();
  const view = stage();
  const about = element("p", { className: "walk-verdict" });
  const input = new ImageInput((image) => { state.image = image; encode(); }, { longest: 1024, sized: false });
  const shown = new Latest(
    ({ channel, steps }) => decodeLatents(state.vae, moved(state.latents, channel, steps * unitOf(channel))),
    (image) => paint(view.canvas, image), (is) => view.working(is));
  const show = () => state.latents && shown.ask({ channel: axis.value, steps: slider.value });
  const axis = range("Axis", { min: 0, max: 3, step: 1, value: 0, format: (channel) => `${channel}` }, () => show());
  const slider = range("Distance", {
    min: -FARTHEST, max: FARTHEST, step: 0.05, value: 0, format: (steps) => `${signedFixed(Math.round(20 * steps) / 20 || 0, 2)} standard deviations`,
  }, show);

  // Of the image's own latents along the channel; 1, that of the prior, where there is one position.
  function unitOf(channel) {
    return state.statistics[channel].std || 1;
  }

  async function encode() {
    if (!state.image || !state.vae) return;
    const turn = ++state.turn;
    const { vae, image } = state;
    const size = sizeFor(vae, image.width, image.height, state.longest);
    const latents = await busy.run("Encoding the image\u2026", (signal) => encodeCanvas(vae, covering(image.canvas, size), signal));
    if (!latents || turn !== state.turn) return;
    Object.assign(state, { latents, statistics: channelStatistics(latents) });
    axis.input.max = latents.shape[1] - 1;
    axis.set(Math.min(axis.value, latents.shape[1] - 1));
    const [, channels, height, width] = latents.shape;
    about.textContent = height * width > 1
      ? `${channels} axes. All ${width} \u00d7 ${height} positions move alike, which changes light and color, and no shapes: those are differences between positions.`
      : `${channels} axes of one vector for the whole image: moving it can change what is shown.`;
    view.size(size);
    await shown.ask({ channel: axis.value, steps: slider.value });
  }

  const root = element("div", { className: "walk-part" },
    element("div", { className: "walk-live" }, view.element,
      element("div", { className: "walk-controls" }, axis.element, slider.element, about)),
    busy.element, input.element);
  return { element: root, use: withSamples(state, [input], encode) };
}

function moved(latents, channel, amount) {
  const values = latents.values.slice();
  const count = values.length / latents.shape[1];
  for (let i = channel * count; i < (channel + 1) * count; i++) values[i] += amount;
  return { ...latents, values };
}
