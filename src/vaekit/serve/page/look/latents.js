// The channels of latents as images.
import { element } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { fixed } from "../parts/numbers.js";
import { labelOf } from "./labels.js";

const SPREAD = 3; // Standard deviations from the mean to black and to white.

// The raw latents (1, z, h, w) of each reconstruction, one channel per image.
export function latentView(reconstructions) {
  const grid = element("div", { className: "latent-grid" });
  const about = element("p", { className: "where" });
  const show = (key) => {
    const { latents: { shape, values }, vae } = reconstructions.find((each) => each.key === key);
    const [, channels, height, width] = shape;
    about.textContent = `${channels} channels of ${width} \u00d7 ${height} positions, raw: as the decoder of ${vae.name} takes them. Gray is the channel\u2019s mean, black and white are ${SPREAD} standard deviations below and above.`;
    grid.replaceChildren(...Array.from({ length: channels }, (_, c) => channelView(c, width, height, values.subarray(c * width * height, (c + 1) * width * height))));
  };
  show(reconstructions[0].key);
  const options = reconstructions.map((each) => [each.key, labelOf(each)]);
  const pick = reconstructions.length > 1 ? [choices("Latents of", options, options[0][0], show)] : [];
  return element("section", { className: "latents" }, element("h3", { textContent: "Latents" }),
    element("div", { className: "tools" }, ...pick), about, grid);
}

function channelView(number, width, height, values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  const canvas = element("canvas", { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Channel ${number}`);
  const context = canvas.getContext("2d");
  const painted = context.createImageData(width, height);
  values.forEach((value, i) => {
    const level = 127.5 * (1 + (value - mean) / (SPREAD * deviation || 1)); // clamped by the array
    painted.data.set([level, level, level, 255], 4 * i);
  });
  context.putImageData(painted, 0, 0);
  return element("figure", { className: "latent" }, canvas,
    element("figcaption", {}, element("span", { textContent: number }), element("span", { className: "reading", textContent: `${fixed(mean, 2)} \u00b1 ${fixed(deviation, 2)}` })));
}
