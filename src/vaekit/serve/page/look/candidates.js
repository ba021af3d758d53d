// Encode and decode an image with one VAE, and what the reconstruction is in numbers that the browser can count.
import { element } from "../shared/elements.js";
import { levels } from "../shared/pixels.js";
import { postBytes, tensorOf, vaePath } from "../parts/api.js";

const PNG = "image/png";
const TENSOR = "tensor/binary";

// Decoded <img> of a PNG. Its address is kept until `release`.
async function imageOf(blob) {
  const image = element("img", { src: URL.createObjectURL(blob), alt: "", draggable: false });
  await image.decode();
  Object.assign(image, { width: image.naturalWidth, height: image.naturalHeight });
  return image;
}

export function release(shown) {
  for (const { image } of shown) URL.revokeObjectURL(image.src);
}

export async function originalOf({ png, name }) {
  const image = await imageOf(png);
  return { key: "original", name: "Original", file: name, png, image, statistics: statisticsOf(levels(image)) };
}

// Returns { key, name, latents: { shape, values }, png, image, statistics }.
export async function reconstruction(vae, position, original, signal, say) {
  say(`${vae.name}: encoding\u2026`);
  const encoded = await postBytes(`/vaes/${encodeURIComponent(vae.name)}/encode`, original.png, { type: PNG, accept: TENSOR, signal });
  const latents = await tensorOf(encoded);
  say(`${vae.name}: decoding\u2026`);
  const png = await decoded(vae, latents, original.image, signal);
  const image = await imageOf(png);
  const statistics = { ...statisticsOf(levels(image)), psnr: psnrOf(image, original.image) };
  return { key: String(position), name: vae.name, vae, position, latents, png, image, statistics };
}

async function decoded(vae, { shape, values }, { naturalWidth, naturalHeight }, signal) {
  const query = new URLSearchParams(shape.map((extent) => ["shape", extent]));
  for (const [name, value] of Object.entries({ dtype: "float32", output_type: "pil", image_format: "png", height: naturalHeight, width: naturalWidth })) {
    query.append(name, value);
  }
  const answer = await postBytes(`/vaes/${encodeURIComponent(vae.name)}/decode?${query}`, values, { type: TENSOR, accept: PNG, signal });
  return answer.blob();
}

// The file with the latents, as `vaekit encode` writes it.
export async function latentFile(vae, png, signal) {
  const answer = await postBytes(vaePath(vae.name, "latents"), png, { type: PNG, accept: "application/octet-stream", signal });
  return answer.blob();
}

export const PLANES = ["luminance", "red", "green", "blue"];

// Counts of levels of luminance, red, green and blue; the mean and the standard deviation of luminance; means of colors.
export function statisticsOf({ data, width, height }) {
  const counts = PLANES.map(() => new Uint32Array(256));
  const sums = [0, 0, 0];
  let total = 0;
  let squares = 0;
  for (let at = 0; at < data.length; at += 4) {
    const luminance = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    counts[0][Math.round(luminance)]++;
    total += luminance;
    squares += luminance * luminance;
    for (let c = 0; c < 3; c++) {
      counts[c + 1][data[at + c]]++;
      sums[c] += data[at + c];
    }
  }
  const pixels = width * height;
  const mean = total / pixels;
  return {
    counts,
    pixels,
    mean,
    contrast: Math.sqrt(Math.max(0, squares / pixels - mean * mean)),
    colors: sums.map((sum) => sum / pixels),
    low: counts.slice(1).reduce((sum, each) => sum + each[0], 0) / (3 * pixels),
    high: counts.slice(1).reduce((sum, each) => sum + each[255], 0) / (3 * pixels),
  };
}

// PSNR in dB of images of the same size; null for others.
function psnrOf(image, original) {
  const [a, b] = [levels(image), levels(original)];
  if (a.width !== b.width || a.height !== b.height) return null;
  let squares = 0;
  for (let at = 0; at < a.data.length; at++) if (at % 4 < 3) squares += (a.data[at] - b.data[at]) ** 2;
  return 10 * Math.log10((255 * 255 * a.width * a.height * 3) / squares);
}
