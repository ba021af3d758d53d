// The place where the live image is shown.
import { element } from "../shared/elements.js";

const SMALL = 200; // Pixels of a longer side below which pixels are shown as squares.

export function stage(label = "The decoded image") {
  const canvas = element("canvas", { width: 4, height: 3 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const root = element("div", { className: "stage empty" }, canvas);
  return {
    element: root,
    canvas,
    // The size of the images, so that nothing moves when the first one arrives.
    size([width, height]) {
      Object.assign(canvas, { width, height });
      root.classList.remove("empty");
      root.classList.toggle("pixelated", Math.max(width, height) < SMALL);
    },
    working(is) {
      root.classList.toggle("working", is);
    },
  };
}
