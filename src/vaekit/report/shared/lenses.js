// Windows on images of one size: the same pixels of all images, enlarged; all move and zoom together.
import { all, button, clamp, element, one } from "./elements.js";
import { levels } from "./pixels.js";

const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The lenses in an element: each `.lens` has a `.window` with an image and a `.cross`, and a `.reading`.
//   nameOf(lens)  for screen readers
//   start(width)  the view at first, { zoom, x, y }, for windows of this width
//   zoomed(text)  called with each change of the zoom
//   exact         whether the levels under the pointer are shown
export function lensesIn(place, { nameOf, start, zoomed, exact = true }) {
  const view = { zoom: 1, x: 0, y: 0 };
  const held = new Map();
  let apart = 0;

  const size = () => {
    const box = one(".window", place);
    return [box.clientWidth, box.clientHeight];
  };
  function lay() {
    const [width, height] = size();
    const image = one(".window img", place);
    const inside = (center, whole, frame) => {
      const half = frame / view.zoom / 2;
      return whole <= 2 * half ? whole / 2 : clamp(center, half, whole - half);
    };
    view.x = inside(view.x, image.naturalWidth || image.width, width);
    view.y = inside(view.y, image.naturalHeight || image.height, height);
    const [left, top] = [width / 2 - view.x * view.zoom, height / 2 - view.y * view.zoom].map(Math.round);
    for (const each of all(".window img", place)) each.style.transform = `translate(${left}px, ${top}px) scale(${view.zoom})`;
    zoomed(`${Math.round(10 * view.zoom) / 10}\u00d7`);
  }
  function zoomTo(zoom) {
    view.zoom = clamp(zoom, ZOOMS[0], ZOOMS.at(-1));
    lay();
  }
  function step(by) {
    const nearest = ZOOMS.findIndex((zoom) => zoom >= view.zoom);
    zoomTo(ZOOMS[clamp(nearest + by, 0, ZOOMS.length - 1)]);
  }
  function reset() {
    Object.assign(view, start(size()[0]));
    lay();
  }
  function move(x, y) {
    view.x += x / view.zoom;
    view.y += y / view.zoom;
    lay();
  }

  function point(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const [width, height] = size();
    return [view.x + (event.clientX - box.left - width / 2) / view.zoom, view.y + (event.clientY - box.top - height / 2) / view.zoom];
  }
  function cross(event) {
    const [x, y] = point(event).map(Math.floor);
    const [width, height] = size();
    for (const lens of all(".lens", place)) {
      const mark = one(".cross", lens);
      mark.style.width = mark.style.height = `${view.zoom}px`;
      mark.style.transform = `translate(${(x - view.x) * view.zoom + width / 2}px, ${(y - view.y) * view.zoom + height / 2}px)`;
      const image = one("img", lens);
      const inside = x >= 0 && y >= 0 && x < image.naturalWidth && y < image.naturalHeight;
      mark.hidden = !inside;
      if (!exact) continue;
      const from = inside ? 4 * (y * image.naturalWidth + x) : 0;
      one(".reading", lens).textContent = inside ? levels(image).data.slice(from, from + 3).join(" ") : "";
    }
  }
  function clear() {
    for (const lens of all(".lens", place)) {
      one(".cross", lens).hidden = true;
      one(".reading", lens).textContent = "";
    }
  }

  const spread = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  for (const lens of all(".lens", place)) {
    const frame = one(".window", lens);
    frame.setAttribute("aria-label", `${nameOf(lens)}, enlarged. Arrows move, plus and minus zoom, 0 resets.`);
    frame.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      frame.setPointerCapture(event.pointerId);
      if (held.size === 2) apart = spread() / view.zoom;
    });
    frame.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (before) {
        view.x -= (event.clientX - before.x) / view.zoom / held.size;
        view.y -= (event.clientY - before.y) / view.zoom / held.size;
        held.set(event.pointerId, { x: event.clientX, y: event.clientY });
        if (held.size === 2) zoomTo(spread() / apart);
        lay();
      }
      cross(event);
    });
    frame.addEventListener("lostpointercapture", (event) => held.delete(event.pointerId));
    frame.addEventListener("pointerleave", clear);
    frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // Without Ctrl the wheel scrolls the page.
      event.preventDefault();
      zoomTo(view.zoom * Math.exp(-event.deltaY / 200));
    }, { passive: false });
    frame.addEventListener("keydown", (event) => {
      if (event.key in MOVES) move(...MOVES[event.key].map((way) => 16 * way));
      else if (event.key === "+" || event.key === "=") step(1);
      else if (event.key === "-") step(-1);
      else if (event.key === "0") reset();
      else return;
      event.preventDefault();
    });
  }
  return { lay, step, reset };
}

// The buttons of lenses. `current()` returns what `lensesIn` returned; `shown` is an element for the zoom.
export function zoomButtons(shown, current) {
  return element("div", { className: "zooming" },
    button("\u2212", "Zoom out", () => current().step(-1)), shown, button("+", "Zoom in", () => current().step(1)),
    button("Reset", "Reset the zoom", () => current().reset()));
}
