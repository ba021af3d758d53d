// Images to begin with, drawn by the browser or by the server. Each is [title, function that returns a promise of a Blob].
import { element } from "../shared/elements.js";
import { pngOf } from "./read_image.js";

const WIDTH = 512;
const HEIGHT = 384;

// Pseudo-random numbers in [0, 1), the same for the same seed.
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

// Heights of a ridge: midpoint displacement.
function ridge(random, roughness) {
  let points = [random(), random()];
  for (let size = 0.5; points.length < WIDTH; size *= roughness) {
    points = points.flatMap((left, i) => (i + 1 < points.length ? [left, (left + points[i + 1]) / 2 + (random() - 0.5) * size] : [left]));
  }
  return points;
}

const LIGHTS = {
  morning: { sky: ["#2f6fb5", "#9cc9ea", "#fbe9c8"], sun: ["#fffbe6", 0.68, 0.3], hills: ["#8aa9c0", "#5b8a7a", "#2f5d3a"], lake: "#7fb0cc" },
  evening: { sky: ["#1c1b4b", "#8b3a6b", "#f6a04d"], sun: ["#ffd27a", 0.3, 0.56], hills: ["#6d4a7c", "#43305f", "#1d1a38"], lake: "#a2557a" },
};

// A lake between hills: smooth sky, rough edges, fine noise; what is hard for VAEs in different ways.
async function landscape(light, seed) {
  const { sky, sun, hills, lake } = LIGHTS[light];
  const random = randomOf(seed);
  const canvas = element("canvas", { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const air = context.createLinearGradient(0, 0, 0, 0.7 * HEIGHT);
  sky.forEach((color, i) => air.addColorStop(i / (sky.length - 1), color));
  context.fillStyle = air;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const [color, x, y] = sun;
  const glow = context.createRadialGradient(x * WIDTH, y * HEIGHT, 8, x * WIDTH, y * HEIGHT, 130);
  glow.addColorStop(0, color);
  glow.addColorStop(0.12, `${color}cc`);
  glow.addColorStop(1, `${color}00`);
  context.fillStyle = glow;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  hills.forEach((shade, i) => {
    const heights = ridge(random, 0.5 + 0.06 * i);
    const [base, tall] = [(0.42 + 0.11 * i) * HEIGHT, (0.2 - 0.03 * i) * HEIGHT];
    context.fillStyle = shade;
    context.beginPath();
    context.moveTo(0, HEIGHT);
    heights.forEach((each, at) => context.lineTo((at / (heights.length - 1)) * WIDTH, base - (each - 0.5) * tall));
    context.lineTo(WIDTH, HEIGHT);
    context.fill();
  });
  const shore = Math.round(0.76 * HEIGHT);
  for (let row = shore; row < HEIGHT; row++) { // The lake mirrors what is above, with waves.
    const depth = (row - shore) / (HEIGHT - shore);
    const shift = Math.sin(row * 0.9 + 3 * random()) * 2.5 * depth;
    context.drawImage(canvas, 0, Math.round(shore - depth * 0.62 * HEIGHT) - 1, WIDTH, 1, shift, row, WIDTH, 1);
  }
  context.fillStyle = `${lake}55`;
  context.fillRect(0, shore, WIDTH, HEIGHT - shore);
  const levels = context.getImageData(0, 0, WIDTH, HEIGHT);
  for (let at = 0; at < levels.data.length; at++) if (at % 4 < 3) levels.data[at] += (random() - 0.5) * 12;
  context.putImageData(levels, 0, 0);
  return pngOf(canvas);
}

// A test card of the server.
async function card(name) {
  return (await fetch(`/api/cards/${name}`)).blob();
}

export const SAMPLES = [
  ["Morning", () => landscape("morning", 7)],
  ["Evening", () => landscape("evening", 21)],
  ["Text", () => card("text")],
  ["Colors", () => card("color-checker")],
];
