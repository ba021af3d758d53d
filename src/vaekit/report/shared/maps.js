// Maps of signed differences between images, in 8-bit levels.
import { all, clamp, one } from "./elements.js";
import { choices } from "./choices.js";

export const CHANNELS = { luma: [0.299, 0.587, 0.114], red: [1, 0, 0], green: [0, 1, 0], blue: [0, 0, 1] };
const HALF = 256;

export const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "\u00b1") + Math.abs(value);

// The colors of the scale, from its low end to its high end, as the theme has them in `.stops`.
function colorsOf(part) {
  const stops = all(".stops i", part).map((stop) => getComputedStyle(stop).backgroundColor.match(/[\d.]+/g).map(Number));
  return Array.from({ length: 2 * HALF + 1 }, (_, i) => {
    const at = (i / (2 * HALF)) * (stops.length - 1);
    const from = Math.min(Math.floor(at), stops.length - 2);
    return stops[from].slice(0, 3).map((low, c) => low + (at - from) * (stops[from + 1][c] - low));
  });
}

// Draw the maps of a `.differences` section. `differencesOf(map, weights)` returns { width, height, values } for each `.map`.
export async function paintMaps(part, differencesOf) {
  const colors = colorsOf(part);
  const scale = +part.dataset.scale;
  const weights = CHANNELS[part.dataset.channel ?? "luma"];
  one(".low", part).textContent = `\u2212${scale} darker`;
  one(".high", part).textContent = `+${scale} brighter`;
  for (const map of all(".map", part)) {
    const { width, height, values } = await differencesOf(map, weights);
    const context = one("canvas", map).getContext("2d");
    const painted = context.createImageData(width, height);
    for (let i = 0; i < values.length; i++) {
      const color = colors[Math.round(HALF * (clamp(values[i] / scale, -1, 1) + 1))];
      painted.data.set([color[0], color[1], color[2], 255], 4 * i);
    }
    context.putImageData(painted, 0, 0);
  }
}

// The controls of a `.differences` section, and the differences under the pointer. `repaint` is called after a choice.
export function prepareMapTools(part, differencesOf, repaint) {
  const set = (name) => (value) => { part.dataset[name] = value; repaint(); };
  const scales = part.dataset.scales.split(" ").map((scale) => [scale, `\u00b1${scale}`]);
  one(".map-tools", part).append(
    choices("Channel", [["luma", "Luminance"], ["red", "R"], ["green", "G"], ["blue", "B"]], "luma", set("channel")),
    choices("Scale", scales, part.dataset.scale, set("scale")),
  );
  const maps = all(".map", part);
  const block = +(part.dataset.block ?? 1);
  for (const canvas of all(".map canvas", part)) {
    canvas.addEventListener("pointermove", async (event) => {
      const box = canvas.getBoundingClientRect();
      const x = clamp(Math.floor(((event.clientX - box.left) / box.width) * canvas.width), 0, canvas.width - 1);
      const y = clamp(Math.floor(((event.clientY - box.top) / box.height) * canvas.height), 0, canvas.height - 1);
      for (const map of maps) {
        const { width, values } = await differencesOf(map, CHANNELS[part.dataset.channel ?? "luma"]);
        one(".reading", map).textContent = `${signed(Math.round(values[y * width + x]))} at (${x * block}, ${y * block})`;
      }
    });
    canvas.addEventListener("pointerleave", () => maps.forEach((map) => { one(".reading", map).textContent = ""; }));
  }
}
