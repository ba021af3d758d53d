// Points between two latents, as in vaekit.latents.paths: values are arrays of one length, t is from 0 to 1.
const PARALLEL = 1e-4; // Radians, within which ends count as parallel or opposite.

export function linear(a, b, t) {
  return Float32Array.from(a, (value, i) => (1 - t) * value + t * b[i]);
}

export function spherical(a, b, t) {
  let [dot, normA, normB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    normA += a[i] ** 2;
    normB += b[i] ** 2;
  }
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(normA * normB))));
  if (!(angle > PARALLEL && angle < Math.PI - PARALLEL)) return linear(a, b, t);
  const [from, to] = [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
  return Float32Array.from(a, (value, i) => from * value + to * b[i]);
}

export const PATHS = { linear, spherical };

// How far the image in the middle is from the blend of both ends, relative to the distance of the ends; null for equal
// ends. Arguments are ImageData of one size. See vaekit.latents.ghost.
export function ghostIndex(first, middle, last) {
  let [from, apart] = [0, 0];
  for (let i = 0; i < first.data.length; i++) {
    from += (middle.data[i] - (first.data[i] + last.data[i]) / 2) ** 2;
    apart += (first.data[i] - last.data[i]) ** 2;
  }
  return apart ? Math.sqrt(from / apart) : null;
}

const CROSS_FADE = 0.25;
const CHANGE = 0.35;

// What a ghost index says; `isMap` is whether latents have several positions.
export function ghostWords(index, isMap) {
  if (index === null) return "Both images are the same.";
  const number = `Ghost index ${index.toFixed(2)}: `;
  const normal = isMap ? " That is normal for VAEs whose latents are maps, such as those of Stable Diffusion." : "";
  if (index < CROSS_FADE) return `${number}the images cross-fade. Halfway, both show through each other, as in a blend of their pixels.${normal}`;
  if (index >= CHANGE) return `${number}one image changes into the other. Halfway is an image of its own, and no blend.`;
  return `${number}between a cross-fade and a change.`;
}
