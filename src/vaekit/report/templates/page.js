// The report's only script. The page is complete without it; it adds the slider, the zoomable crops and the maps.
import { all, clamp, element, one } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { closeChipsOnEscape } from "../shared/chips.js";
import { lensesIn, zoomButtons } from "../shared/lenses.js";
import { paintMaps, prepareMapTools } from "../shared/maps.js";
import { levels } from "../shared/pixels.js";
import { followDivider, sizeSlider } from "../shared/slider.js";
import { themeChoice } from "../shared/theme.js";

themeChoice(one(".theme-tools"), () => all("article.image.drawn").forEach(drawMaps));

closeChipsOnEscape();

const save = one("#save");
save.hidden = false;
save.addEventListener("click", () => {
  const text = JSON.stringify(JSON.parse(one("#numbers").textContent), null, 2);
  save.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  save.download = "report.json";
});

// Slider: one image left of the divider and another right of it.
const articles = all("article.image");
const names = new Map([["original", "Original"]]);
const labels = new Map([["original", one("article.image .view[data-key=original] figcaption")]]);
for (const template of all("#images > template")) {
  names.set(template.dataset.key, template.dataset.name);
  labels.set(template.dataset.key, template.content);
}
const label = (key) => element("span", {}, ...labels.get(key).cloneNode(true).childNodes);
const sides = { left: "original", right: [...names.keys()][1] ?? "original" };

function showSides() {
  for (const article of articles) {
    for (const view of all(".view", article)) {
      view.classList.toggle("left", view.dataset.key === sides.left);
      view.classList.toggle("right", view.dataset.key === sides.right);
    }
    for (const line of all(".histogram .line", article)) {
      line.classList.toggle("chosen", line.dataset.key === sides.left || line.dataset.key === sides.right);
    }
    for (const side of ["left", "right"]) one(`.sides .${side}`, article).replaceChildren(label(sides[side]));
    const divider = one(".divider", article);
    divider.setAttribute("aria-label", `Divider: ${names.get(sides.left)} left, ${names.get(sides.right)} right`);
  }
}

function prepareSlider(article) {
  const slider = one(".slider", article);
  const divider = one(".divider", slider);
  const { width, height } = article.dataset;
  const compare = one(".compare", article);
  sizeSlider(compare, +one("img", slider).getAttribute("width"), width / height);
  for (const mark of all(".mark", slider)) {
    const share = (part, whole) => `${(100 * part) / whole}%`;
    mark.style.left = share(mark.dataset.x, width);
    mark.style.top = share(mark.dataset.y, height);
    mark.style.width = share(mark.dataset.width, width);
    mark.style.height = share(mark.dataset.height, height);
  }
  followDivider(slider, divider, (percent) => `${percent} % ${names.get(sides.left)}, ${100 - percent} % ${names.get(sides.right)}`);
}

// Crops and the whole image, as lenses.
function wholePlace(article) {
  const lenses = all(".view", article).map((view) => {
    const lens = one(`.lens[data-key="${view.dataset.key}"]`, article).cloneNode(true);
    const image = one("img", lens);
    image.src = one("img", view).src;
    one(".reading", lens).textContent = "";
    return lens;
  });
  const image = one(".view img", article);
  const place = element("div", { className: "place" },
    element("p", { className: "where", textContent: "The whole image: drag to move." }),
    element("div", { className: one(".lenses", article).className }, ...lenses));
  const [width, height] = ["width", "height"].map((side) => image.getAttribute(side));
  Object.assign(place.dataset, { place: "whole", x: 0, y: 0, width, height, left: 0, top: 0 });
  one(".crops", article).append(place);
  return place;
}

function startIn(place, frame) {
  const { x, y, width, height, left, top } = Object.fromEntries(Object.entries(place.dataset).map(([key, value]) => [key, +value]));
  // The crop fills the lens: four times enlarged on a screen, less on a phone.
  const fit = Math.floor(frame / Math.min(width, 64));
  const zoom = place.dataset.place === "whole" ? 2 : clamp(fit, 1, width < 64 ? 16 : 4);
  return { zoom, x: x - left + width / 2, y: y - top + height / 2 };
}

function prepareLenses(article) {
  const shown = element("output", { className: "zoom" });
  const prepared = new Map();
  let lenses = null;
  function show(name) {
    const place = one(`.place[data-place=${name}]`, article) ?? wholePlace(article);
    for (const each of all(".place", article)) each.classList.toggle("current", each === place);
    if (!prepared.has(place)) {
      prepared.set(place, lensesIn(place, {
        nameOf: (lens) => names.get(lens.dataset.key),
        start: (frame) => startIn(place, frame),
        zoomed: (text) => { shown.textContent = text; },
        exact: name !== "whole",
      }));
    }
    lenses = prepared.get(place);
    lenses.reset();
  }
  const places = all(".place", article).map((each) => [each.dataset.place, each.dataset.title]);
  one(".zoom-tools", article).append(
    choices("Region", [...places, ["whole", "Whole image"]], places[0][0], show),
    zoomButtons(shown, () => lenses),
  );
  show(places[0][0]);
  new ResizeObserver(() => article.classList.contains("current") && lenses.lay()).observe(one(".crops", article));
}

// Difference maps: level 128 of the embedded image is no difference.
async function embeddedDifferences(map, weights) {
  const image = one("img", map);
  await image.decode();
  const { data, width, height } = levels(image);
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++) {
    const from = 4 * i;
    values[i] = weights[0] * (data[from] - 128) + weights[1] * (data[from + 1] - 128) + weights[2] * (data[from + 2] - 128);
  }
  return { width, height, values };
}
async function drawMaps(article) {
  article.classList.add("drawn");
  const part = one(".differences", article);
  if (part) await paintMaps(part, embeddedDifferences);
}
function prepareMaps(article) {
  const part = one(".differences", article);
  if (part) prepareMapTools(part, embeddedDifferences, () => drawMaps(article));
  drawMaps(article);
}

// One image at a time, prepared when it is first shown.
const prepared = new Set();
function prepare(article) {
  if (prepared.has(article)) return;
  prepared.add(article);
  prepareSlider(article);
  prepareLenses(article);
  prepareMaps(article);
}
const tabs = all(".thumbnails button");
function showImage(number) {
  articles.forEach((article, i) => article.classList.toggle("current", i === number));
  tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", i === number));
  prepare(articles[number]);
}
if (articles.length) {
  tabs.forEach((tab, i) => tab.addEventListener("click", () => showImage(i)));
  const keys = [...names.keys()].map((key) => [key, key]);
  for (const side of ["left", "right"]) {
    const options = keys.map(([key]) => [key, label(key)]);
    const choose = (key) => { sides[side] = key; showSides(); };
    one(".sides-tools").append(choices(side === "left" ? "Left" : "Right", options, sides[side], choose));
  }
  showSides();
  showImage(0);
  addEventListener("beforeprint", () => articles.forEach(drawMaps));
}
