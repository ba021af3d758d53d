// Raw latents of a VAE of images: { shape: [1, z, h, w], values, size: [width, height] of the image }.
import { element } from "../shared/elements.js";
import { postBytes, tensorOf } from "./api.js";
import { pngOf } from "./read_image.js";

const ENDING = { type: "tensor/binary", accept: "image/png" };

function address(vae, verb) {
  return `/vaes/${encodeURIComponent(vae.name)}/${verb}`;
}

// The mode of the posterior of a canvas.
export async function encodeCanvas(vae, canvas, signal) {
  const answer = await postBytes(address(vae, "encode"), await pngOf(canvas), { type: "image/png", accept: "tensor/binary", signal });
  return { ...(await tensorOf(answer)), size: [canvas.width, canvas.height] };
}

// Latents as an ImageBitmap; those of another VAE of the same shape are decoded, too.
export async function decodeLatents(vae, { shape, values, size: [width, height] }, signal) {
  const query = new URLSearchParams([...shape.map((extent) => ["shape", extent]),
    ["dtype", "float32"], ["output_type", "pil"], ["image_format", "png"], ["width", width], ["height", height]]);
  const answer = await postBytes(`${address(vae, "decode")}?${query}`, values, { ...ENDING, signal });
  return createImageBitmap(await answer.blob());
}

// The size in which a VAE takes an image: its only one, or that of the image with a longer side of at most `longest`.
export function sizeFor(vae, width, height, longest) {
  if (vae.geometry.size) return [vae.geometry.size[1], vae.geometry.size[0]];
  const scale = Math.min(1, longest / Math.max(width, height));
  return [width, height].map((side) => Math.max(16, Math.round(side * scale)));
}

// An image in a size: scaled, and cropped around its middle.
export function covering(source, [width, height]) {
  const canvas = element("canvas", { width, height });
  const scale = Math.max(width / source.width, height / source.height);
  const [across, down] = [source.width * scale, source.height * scale];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, (width - across) / 2, (height - down) / 2, across, down);
  return canvas;
}

// Draw an image on a canvas of its size.
export function paint(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
}

// The mean and the standard deviation of each channel over positions.
export function channelStatistics({ shape: [, channels], values }) {
  const count = values.length / channels;
  return Array.from({ length: channels }, (_, c) => {
    const own = values.subarray(c * count, (c + 1) * count);
    const mean = own.reduce((sum, value) => sum + value, 0) / count;
    const std = Math.sqrt(own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count);
    return { mean, std };
  });
}
