// The image of lessons that use an offered VAE: a sample at first, or one of the reader's.
import { element } from "../shared/elements.js";
import { covering, encodeCanvas, sizeFor } from "../parts/latents.js";
import { ImageInput } from "../parts/picture_input.js";
import { SAMPLES } from "../parts/samples.js";

const LONGEST = 256;

// VAEs of images with maps of latents.
export function mapVAEs(vaes) {
  return vaes.filter((vae) => !vae.geometry.size && vae.halves.length === 2);
}

// The VAE that lessons use: the default one if its latents are a map.
export function lessonVAE(vaes) {
  const suited = mapVAEs(vaes);
  return suited.find((vae) => vae.default) ?? suited[0];
}

export function noVAE() {
  return element("p", { className: "note", textContent: "This server offers no VAE of images of any size. Start it as `vaekit serve --vae builtin` to try this lesson." });
}

// An input whose image is encoded: `encoded({ vae, canvas, latents })`. `first` is the number of the sample to begin with.
export function encodedInput(vae, busy, encoded, first = 0) {
  let turn = 0;
  const input = new ImageInput(async (image) => {
    const own = ++turn;
    const canvas = covering(image.canvas, sizeFor(vae, image.width, image.height, LONGEST));
    const latents = await busy.run("Encoding the image\u2026", (signal) => encodeCanvas(vae, canvas, signal));
    if (latents && own === turn) encoded({ vae, canvas, latents });
  }, { label: "Try another image", longest: 1024, sized: false });
  const start = async () => input.take(await SAMPLES[first][1](), SAMPLES[first][0]);
  return { element: input.element, start };
}

// Channels of latents as gray images: mean gray, three standard deviations to black and white.
export function channelCanvases({ shape: [, channels, height, width], values }) {
  return Array.from({ length: channels }, (_, c) => {
    const own = values.subarray(c * width * height, (c + 1) * width * height);
    const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
    const std = Math.sqrt(own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / own.length) || 1;
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d");
    const painted = context.createImageData(width, height);
    own.forEach((value, i) => {
      const level = 127.5 * (1 + (value - mean) / (3 * std));
      painted.data.set([level, level, level, 255], 4 * i);
    });
    context.putImageData(painted, 0, 0);
    return canvas;
  });
}

// Peak signal-to-noise ratio of two canvases of one size in dB; Infinity if they are equal.
export function psnrOf(a, b) {
  const [one, other] = [a, b].map((canvas) => canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height).data);
  let sum = 0;
  for (let i = 0; i < one.length; i++) if (i % 4 < 3) sum += (one[i] - other[i]) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / (0.75 * one.length)));
}
