// Exposure and color: a table of numbers, and histograms of levels.
import { element } from "../shared/elements.js";
import { fixed, percent, signedFixed } from "../parts/numbers.js";
import { PLANES } from "./candidates.js";
import { labelOf } from "./labels.js";

const SVG = "http://www.w3.org/2000/svg";
const TICKS = [63.75, 127.5, 191.25];
const QUANTILE = 0.99;

const COLUMNS = [
  ["PSNR", "dB", (one) => ("psnr" in one ? fixed(one.psnr, 2) : "\u2013"), "Peak signal-to-noise ratio against the original: higher is closer."],
  ["Luminance", "mean", (one, original) => withChange(one.mean, original.mean, 1), "Mean luminance in 8-bit levels, and its change."],
  ["Contrast", "std", (one, original) => withChange(one.contrast, original.contrast, 1), "Standard deviation of luminance in 8-bit levels, and its change."],
  ["Red", "shift", (one, original) => shift(one, original, 0), "Change of the mean of the red channel, in levels."],
  ["Green", "shift", (one, original) => shift(one, original, 1), "Change of the mean of the green channel, in levels."],
  ["Blue", "shift", (one, original) => shift(one, original, 2), "Change of the mean of the blue channel, in levels."],
  ["At 0", "clipped", (one) => percent(one.low), "Share of the values of red, green and blue at level 0."],
  ["At 255", "clipped", (one) => percent(one.high), "Share of the values of red, green and blue at level 255."],
];

function withChange(value, original, digits) {
  return value === original ? fixed(value, digits) : `${fixed(value, digits)} (${signedFixed(value - original, digits)})`;
}

function shift(one, original, channel) {
  return one === original ? "\u2013" : signedFixed(one.colors[channel] - original.colors[channel], 1);
}

export function exposureTable(shown) {
  const original = shown[0].statistics;
  const head = COLUMNS.map(([title, unit, , about]) => {
    const cell = element("th", { className: "number", scope: "col", title: about }, `${title} `, element("span", { className: "unit", textContent: unit }));
    return cell;
  });
  const rows = shown.map((each) => element("tr", {},
    element("th", { scope: "row" }, labelOf(each)),
    ...COLUMNS.map(([, , text]) => element("td", { className: "number" }, text(each.statistics, original)))));
  const table = element("table", { className: "image-measures" },
    element("thead", {}, element("tr", {}, element("td"), ...head)), element("tbody", {}, ...rows));
  return scrolling("Exposure and color", table);
}

// Content that may be wider than a phone scrolls in its own box, by finger and by keyboard.
export function scrolling(label, content) {
  const box = element("div", { className: "scrolling", tabIndex: 0, ariaLabel: label }, content);
  box.setAttribute("role", "region");
  return box;
}

export function histograms(shown) {
  const plots = PLANES.map((plane, i) => element("figure", { className: "channel" },
    element("figcaption", { textContent: plane[0].toUpperCase() + plane.slice(1) }),
    histogram(plane, shown.map((each) => ({ ...each, counts: each.statistics.counts[i] }))),
    axis()));
  return element("section", {},
    element("h3", { textContent: "Histograms" }),
    element("p", { className: "where", textContent: "Pixels at each level: the original as an area, the reconstructions in the slider as lines." }),
    element("div", { className: "histograms" }, ...plots));
}

function axis() {
  const line = element("div", { className: "axis", ariaHidden: "true" });
  line.append(...[0, 64, 128, 192, 255].map((level) => element("span", { textContent: level })));
  return line;
}

function histogram(plane, [original, ...others]) {
  const plot = drawn("svg", { class: `histogram ${plane}`, viewBox: "0 0 255 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `Histogram of ${plane}, original and reconstructions` });
  const top = topOf([original, ...others].map(({ counts }) => counts));
  for (const x of TICKS) plot.append(drawn("line", { class: "tick", x1: x, x2: x, y1: 0, y2: 100 }));
  plot.append(drawn("path", { class: "area", d: `M0 100L${outline(original.counts, top)}L255 100Z` }));
  for (const { key, position, counts } of others) {
    plot.append(drawn("path", { class: `line candidate-${position % 6}`, "data-key": key, d: `M${outline(counts, top)}` }));
  }
  return plot;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// The count at the top: it fits most levels, and clipped pixels do not flatten the rest, as in reports.
function topOf(all) {
  const inner = all.flatMap((counts) => [...counts.slice(1, -1)]).sort((a, b) => a - b);
  const usual = inner[Math.floor(QUANTILE * (inner.length - 1))];
  const largest = inner.at(-1);
  return Math.max(usual > largest / 5 ? 1.2 * usual : 1.05 * largest, 1);
}

function outline(counts, top) {
  return [...counts].map((count, level) => `${level} ${(100 * (1 - Math.min(count / top, 1))).toFixed(1)}`).join("L");
}
