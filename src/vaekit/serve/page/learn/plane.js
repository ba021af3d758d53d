// A latent space with two axes as a plane: test digits as colored points, and a point to drag.
import { clamp, element } from "../shared/elements.js";
import { decodeDigit, paintDigits } from "./digits.js";

export const COLORS = ["#e15759", "#f28e2b", "#c9a400", "#59a14f", "#1fa187", "#3d8fc9", "#5b6fd6", "#9d63c2", "#d45fa3", "#9c755f"];
const TILES = 21; // Digits of the map along each side.
const MARGIN = 0.06;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STEP = 0.01; // Of the side, for an arrow key; ten times that with Shift.

// The square around most of the points: [left, bottom, side].
function square(points) {
  const ranges = [0, 1].map((axis) => {
    const sorted = points.map((point) => point[axis]).sort((a, b) => a - b);
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    return [at(0.005), at(0.995)];
  });
  const side = (1 + 2 * MARGIN) * Math.max(...ranges.map(([low, high]) => high - low));
  const [left, bottom] = ranges.map(([low, high]) => (low + high - side) / 2);
  return [left, bottom, side];
}

// `moved(point)` is called when the point is dragged or moved by keys.
export function plane(model, labels, side, title, moved) {
  const [left, bottom, extent] = square(model.points);
  const state = { point: [left + extent / 2, bottom + extent / 2], path: null, map: null, shown: false };
  const canvas = element("canvas", { className: "plane", tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "plane");

  function position([x, y], size) {
    return [((x - left) / extent) * size, (1 - (y - bottom) / extent) * size];
  }

  function draw() {
    const size = canvas.clientWidth;
    if (!size) return;
    const ratio = devicePixelRatio || 1;
    Object.assign(canvas, { width: size * ratio, height: size * ratio });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    if (state.shown) {
      context.drawImage((state.map ??= mapOf()), 0, 0, size, size);
    }
    model.points.forEach((point, i) => {
      const [x, y] = position(point, size);
      context.fillStyle = COLORS[labels[i]];
      context.beginPath();
      context.arc(x, y, size < 340 ? 2 : 2.6, 0, 2 * Math.PI);
      context.fill();
    });
    if (state.path) {
      context.strokeStyle = state.shown ? "#fff" : style.color;
      context.lineWidth = 1.5;
      context.setLineDash([5, 4]);
      context.beginPath();
      state.path.forEach((point) => context.lineTo(...position(point, size)));
      context.stroke();
      context.setLineDash([]);
    }
    const [x, y] = position(state.point, size);
    for (const [color, width] of [["#fff", 6], ["#111", 3]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // What is decoded everywhere.
  function mapOf() {
    const made = element("canvas", {});
    const at = (i) => (i + 0.5) / TILES;
    const points = Array.from({ length: TILES * TILES }, (_, i) => [left + extent * at(i % TILES), bottom + extent * (1 - at(Math.floor(i / TILES)))]);
    paintDigits(made, points.map((point) => decodeDigit(model, point)), side, TILES);
    return made;
  }

  function move([x, y]) {
    state.point = [clamp(x, left, left + extent), clamp(y, bottom, bottom + extent)];
    canvas.setAttribute("aria-label", `${title}: point at ${state.point.map((value) => value.toFixed(2)).join(", ")}. Arrow keys move it.`);
    draw();
    moved(state.point);
  }

  function follow(event) {
    const box = canvas.getBoundingClientRect();
    move([left + (extent * (event.clientX - box.left)) / box.width, bottom + extent * (1 - (event.clientY - box.top) / box.height)]);
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    follow(event);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && follow(event));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    const step = extent * STEP * (event.shiftKey ? 10 : 1);
    move(state.point.map((value, axis) => value + step * KEYS[event.key][axis]));
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("theme", draw);
  return {
    element: canvas,
    move,
    path(points) {
      state.path = points;
      draw();
    },
    map(shown) {
      state.shown = shown;
      draw();
    },
  };
}
