// Exposure, contrast and warmth of pixels, as in vaekit.tasks.alterations: with these, directions are learned.
import { clamp, element } from "../shared/elements.js";

function linearLight(value) {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function encodedLight(light) {
  const l = clamp(light, 0, 1);
  return l <= 0.0031308 ? 12.92 * l : 1.055 * l ** (1 / 2.4) - 0.055;
}

// A canvas with the amounts applied; those that are missing are 0.
export function altered(source, { exposure = 0, contrast = 0, warmth = 0 }) {
  const { width, height } = source;
  const levels = source.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
  const tables = [1, 0, -1].map((sign) => Uint8ClampedArray.from({ length: 256 }, (_, level) => {
    const light = encodedLight(linearLight(level / 255) * 2 ** (exposure + sign * warmth));
    return 255 * clamp(0.5 + (light - 0.5) * 2 ** contrast, 0, 1);
  }));
  for (let i = 0; i < levels.data.length; i++) if (i % 4 < 3) levels.data[i] = tables[i % 4][levels.data[i]];
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").putImageData(levels, 0, 0);
  return canvas;
}
