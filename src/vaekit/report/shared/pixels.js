// Exact levels of images on a page.
import { element } from "./elements.js";

const read = new WeakMap();

// The 8-bit levels of an image that has been loaded, read once: ImageData.
export function levels(image) {
  if (!read.has(image)) {
    const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    read.set(image, context.getImageData(0, 0, canvas.width, canvas.height));
  }
  return read.get(image);
}
