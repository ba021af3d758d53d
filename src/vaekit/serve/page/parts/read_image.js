// Images as VAEs get them: upright, in sRGB, 8 bits, without transparency, not larger than asked for.
import { element } from "../shared/elements.js";
import { UsageError } from "./errors.js";

const GROUND = "#fff";

// Returns { name, width, height, from: [width, height] of the file, canvas, png }. The browser draws the image once, and
// the server gets the PNG of that: so both sides see the same pixels, whatever profile or orientation the file has.
export async function readImage(blob, name, longest) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new UsageError(`${name} is not an image that this browser can read. Expected PNG, JPEG, WebP or AVIF.`);
  }
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = GROUND;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const from = [bitmap.width, bitmap.height];
  bitmap.close();
  return { name, width, height, from, canvas, png: await pngOf(canvas) };
}

export function pngOf(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new UsageError("The image is too large for this browser."))), "image/png");
  });
}

// The exact levels of an image file of the server.
export async function levelsOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = element("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
