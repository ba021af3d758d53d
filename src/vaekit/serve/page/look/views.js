// Original and reconstructions against each other: the slider, the enlarged windows and the maps of differences.
import { all, clamp, element, one } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { lensesIn, zoomButtons } from "../shared/lenses.js";
import { paintMaps, prepareMapTools } from "../shared/maps.js";
import { levels } from "../shared/pixels.js";
import { followDivider, sizeSlider } from "../shared/slider.js";
import { labelOf } from "./labels.js";

const SCALES = [4, 8, 16, 32, 64];
const TYPICAL = 0.9;

// A slider with one image left of the divider and another right of it. `sides` holds the keys, and `changed` is called
// when others are chosen.
export function sliderView(shown, sides, changed) {
  const divider = element("div", { className: "divider", tabIndex: 0 });
  for (const [name, value] of Object.entries({ role: "slider", "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100 })) {
    divider.setAttribute(name, value);
  }
  const views = shown.map((each) => {
    const view = element("figure", { className: "view" }, each.image.cloneNode());
    view.dataset.key = each.key;
    return view;
  });
  const slider = element("div", { className: "slider" }, ...views, divider);
  const below = ["left", "right"].map((side) => element("span", { className: side }));
  const sidesLine = element("p", { className: "sides", ariaHidden: "true" }, ...below);
  const compare = element("div", { className: "compare" }, slider, sidesLine);
  const nameOf = (key) => shown.find((each) => each.key === key).name;
  const { width, height } = shown[0].image;
  sizeSlider(compare, width, width / height);
  function show() {
    for (const view of views) {
      view.classList.toggle("left", view.dataset.key === sides.left);
      view.classList.toggle("right", view.dataset.key === sides.right);
    }
    ["left", "right"].forEach((side, i) => below[i].replaceChildren(labelOf(shown.find((each) => each.key === sides[side]))));
    divider.setAttribute("aria-label", `Divider: ${nameOf(sides.left)} left, ${nameOf(sides.right)} right`);
    changed();
  }
  followDivider(slider, divider, (share) => `${share} % ${nameOf(sides.left)}, ${100 - share} % ${nameOf(sides.right)}`);
  const pick = (title, side) => choices(title, shown.map((each) => [each.key, labelOf(each)]), sides[side], (key) => {
    sides[side] = key;
    show();
  });
  show();
  const tools = element("div", { className: "tools sides-tools" }, pick("Left", "left"), pick("Right", "right"));
  return element("section", {}, ...(shown.length > 2 ? [tools] : []), compare);
}

// The same pixels of all images, enlarged.
export function lensView(shown) {
  const zoom = element("output", { className: "zoom" });
  const lenses = shown.map((each) => {
    const frame = element("div", { className: "window", tabIndex: 0 }, each.image.cloneNode(), element("i", { className: "cross", hidden: true }));
    frame.setAttribute("role", "img");
    const lens = element("figure", { className: "lens" }, frame,
      element("figcaption", {}, labelOf(each), element("span", { className: "reading" })));
    lens.dataset.key = each.key;
    return lens;
  });
  const columns = [5, 6].includes(shown.length) ? 3 : Math.min(shown.length, 4);
  const place = element("div", { className: "place current" },
    element("div", { className: `lenses columns-${columns}` }, ...lenses));
  const { width, height } = shown[0].image;
  const made = lensesIn(place, {
    nameOf: (lens) => shown.find((each) => each.key === lens.dataset.key).name,
    start: (frame) => ({ zoom: clamp(Math.floor(frame / 96), 2, 4), ...mostDetailed(shown[0].image) }),
    zoomed: (text) => { zoom.textContent = text; },
  });
  const section = element("section", { className: "crops" },
    element("h3", { textContent: "Enlarged" }),
    element("p", { className: "where", textContent: `Drag to move, pinch or press + and \u2212 to zoom (with a mouse: Ctrl and the wheel); all windows follow. Point at a pixel to read its levels. The image has ${width} \u00d7 ${height} pixels.` }),
    element("div", { className: "tools zoom-tools" }, zoomButtons(zoom, () => made)), place);
  let laid = false;
  new ResizeObserver(() => { // First when it is on the page and has a width.
    if (!one(".window", place).clientWidth) return;
    if (laid) made.lay();
    else made.reset();
    laid = true;
  }).observe(section);
  return section;
}

// The center of the tile with the largest variance: there is something to see.
function mostDetailed(image) {
  const { data, width, height } = levels(image);
  const tile = 32;
  let best = { detail: -1, x: width / 2, y: height / 2 };
  for (let top = 0; top + tile <= height; top += tile) {
    for (let left = 0; left + tile <= width; left += tile) {
      let [sum, squares] = [0, 0];
      for (let y = top; y < top + tile; y += 2) {
        for (let x = left; x < left + tile; x += 2) {
          const green = data[4 * (y * width + x) + 1];
          sum += green;
          squares += green * green;
        }
      }
      const count = (tile * tile) / 4;
      const detail = squares / count - (sum / count) ** 2;
      if (detail > best.detail) best = { detail, x: left + tile / 2, y: top + tile / 2 };
    }
  }
  return { x: best.x, y: best.y };
}

// Signed differences of reconstructions that have the size of the original; null if there are none.
export function differenceView(shown) {
  const [original, ...others] = shown;
  const same = others.filter(({ image }) => image.width === original.image.width && image.height === original.image.height);
  if (!same.length) return null;
  const stops = element("div", { className: "stops" }, ...Array.from({ length: 5 }, () => element("i")));
  const maps = same.map((each) => {
    const canvas = element("canvas", { width: each.image.width, height: each.image.height });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Map of signed differences, ${each.name}`);
    const map = element("figure", { className: "map" }, canvas,
      element("figcaption", {}, labelOf(each), element("span", { className: "reading" })));
    map.style.setProperty("--aspect", each.image.width / each.image.height);
    map.dataset.key = each.key;
    return map;
  });
  const part = element("section", { className: "differences" },
    element("h3", { textContent: "Difference maps" }),
    element("p", { className: "where", textContent: "Reconstruction minus original, in 8-bit levels." }),
    element("div", { className: "map-bar" },
      element("div", { className: "tools map-tools" }),
      element("div", { className: "legend" }, stops, element("div", { className: "ramp" }),
        element("div", { className: "ends" }, element("span", { className: "low" }), element("span", { textContent: "0" }), element("span", { className: "high" })))),
    element("div", { className: "maps" }, ...maps));
  const differencesOf = (map, weights) => differencesBetween(same.find((each) => each.key === map.dataset.key).image, original.image, weights);
  Object.assign(part.dataset, { scale: scaleFor(same, original), scales: SCALES.join(" "), channel: "luma" });
  const paint = () => paintMaps(part, differencesOf);
  prepareMapTools(part, differencesOf, paint);
  return { part, paint };
}

function differencesBetween(image, original, weights) {
  const [a, b] = [levels(image), levels(original)];
  const values = new Float32Array(a.width * a.height);
  for (let i = 0, at = 0; i < values.length; i++, at += 4) {
    values[i] = weights[0] * (a.data[at] - b.data[at]) + weights[1] * (a.data[at + 1] - b.data[at + 1]) + weights[2] * (a.data[at + 2] - b.data[at + 2]);
  }
  return { width: a.width, height: a.height, values };
}

// The smallest scale that holds 90 % of the values of all maps, as in reports.
function scaleFor(same, original) {
  const typical = same.map(({ image }) => {
    const { values } = differencesBetween(image, original.image, [0.299, 0.587, 0.114]);
    return values.map(Math.abs).sort()[Math.floor(TYPICAL * (values.length - 1))];
  });
  return SCALES.find((scale) => scale >= Math.max(...typical)) ?? SCALES.at(-1);
}

// Which lines of histograms belong to the sides of the slider.
export function markChosen(root, sides) {
  for (const line of all(".histogram .line", root)) {
    line.classList.toggle("chosen", line.dataset.key === sides.left || line.dataset.key === sides.right);
  }
}
