// The report's only script. The page is complete without it; it adds the slider, the zoomable crops and the maps.
import { all, button, clamp, element, one } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { followDivider, sizeSlider } from "../shared/slider.js";
import { themeChoice } from "../shared/theme.js";

const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "\u00b1") + Math.abs(value);

// The exact levels of an embedded image, read once.
const read = new WeakMap();
function levels(image) {
  if (!read.has(image)) {
    const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    read.set(image, context.getImageData(0, 0, canvas.width, canvas.height));
  }
  return read.get(image);
}

themeChoice(one(".theme-tools"), () => all("article.image.drawn").forEach(drawMaps));

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement?.matches(".chip")) document.activeElement.blur();
});

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

// Lenses: the same pixels of all images, enlarged; all move and zoom together.
const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16];

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

function prepareLenses(article) {
  const tools = one(".zoom-tools", article);
  const shown = element("output", { className: "zoom" });
  const view = { zoom: 4, x: 0, y: 0 };
  let place = null;

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
    shown.textContent = `${Math.round(10 * view.zoom) / 10}\u00d7`;
  }
  function zoomTo(zoom) {
    view.zoom = clamp(zoom, ZOOMS[0], ZOOMS.at(-1));
    lay();
  }
  const step = (by) => {
    const nearest = ZOOMS.findIndex((zoom) => zoom >= view.zoom);
    zoomTo(ZOOMS[clamp(nearest + by, 0, ZOOMS.length - 1)]);
  };
  function reset() {
    const { x, y, width, height, left, top } = Object.fromEntries(Object.entries(place.dataset).map(([key, value]) => [key, +value]));
    // The crop fills the lens: four times enlarged on a screen, less on a phone.
    const fit = Math.floor(size()[0] / Math.min(width, 64));
    view.zoom = place.dataset.place === "whole" ? 2 : clamp(fit, 1, width < 64 ? 16 : 4);
    view.x = x - left + width / 2;
    view.y = y - top + height / 2;
    lay();
  }
  function show(name) {
    place = one(`.place[data-place=${name}]`, article) ?? wholePlace(article);
    for (const each of all(".place", article)) each.classList.toggle("current", each === place);
    if (!place.dataset.ready) prepareWindows(place);
    place.dataset.ready = "yes";
    reset();
  }

  function point(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const [width, height] = size();
    const x = view.x + (event.clientX - box.left - width / 2) / view.zoom;
    const y = view.y + (event.clientY - box.top - height / 2) / view.zoom;
    return [x, y];
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
      if (place.dataset.place === "whole") continue;
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

  function prepareWindows(here) {
    const held = new Map();
    let apart = 0;
    const spread = () => {
      const [a, b] = [...held.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    for (const lens of all(".lens", here)) {
      const frame = one(".window", lens);
      const name = names.get(lens.dataset.key);
      frame.setAttribute("aria-label", `${name}, enlarged. Arrows move, plus and minus zoom, 0 resets.`);
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
        const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
        if (event.key in moves) {
          view.x += (moves[event.key][0] * 16) / view.zoom;
          view.y += (moves[event.key][1] * 16) / view.zoom;
          lay();
        } else if (event.key === "+" || event.key === "=") step(1);
        else if (event.key === "-") step(-1);
        else if (event.key === "0") reset();
        else return;
        event.preventDefault();
      });
    }
  }

  const places = all(".place", article).map((each) => [each.dataset.place, each.dataset.title]);
  tools.append(
    choices("Region", [...places, ["whole", "Whole image"]], places[0][0], show),
    element("div", { className: "zooming" },
      button("\u2212", "Zoom out", () => step(-1)), shown, button("+", "Zoom in", () => step(1)), button("Reset", "Reset the zoom", reset)),
  );
  show(places[0][0]);
  new ResizeObserver(() => article.classList.contains("current") && lay()).observe(one(".crops", article));
}

// Difference maps: level 128 of the embedded image is no difference.
const LUMA = [0.299, 0.587, 0.114];
const CHANNELS = { luma: LUMA, red: [1, 0, 0], green: [0, 1, 0], blue: [0, 0, 1] };

function ramp(article) {
  const stops = all(".stops i", article).map((stop) => getComputedStyle(stop).backgroundColor.match(/[\d.]+/g).map(Number));
  return Array.from({ length: 513 }, (_, i) => {
    const at = (i / 512) * (stops.length - 1);
    const from = Math.min(Math.floor(at), stops.length - 2);
    return stops[from].slice(0, 3).map((low, c) => low + (at - from) * (stops[from + 1][c] - low));
  });
}
function difference(data, from, weights) {
  return weights[0] * (data[from] - 128) + weights[1] * (data[from + 1] - 128) + weights[2] * (data[from + 2] - 128);
}
async function drawMaps(article) {
  article.classList.add("drawn");
  const part = one(".differences", article);
  if (!part) return;
  const colors = ramp(part);
  const scale = +part.dataset.scale;
  const weights = CHANNELS[part.dataset.channel ?? "luma"];
  one(".low", part).textContent = `\u2212${scale} darker`;
  one(".high", part).textContent = `+${scale} brighter`;
  for (const map of all(".map", part)) {
    const image = one("img", map);
    await image.decode();
    const { data, width, height } = levels(image);
    const context = one("canvas", map).getContext("2d");
    const painted = context.createImageData(width, height);
    for (let at = 0; at < data.length; at += 4) {
      const place = clamp(difference(data, at, weights) / scale, -1, 1);
      const color = colors[Math.round(256 * (place + 1))];
      painted.data[at] = color[0];
      painted.data[at + 1] = color[1];
      painted.data[at + 2] = color[2];
      painted.data[at + 3] = 255;
    }
    context.putImageData(painted, 0, 0);
  }
}
function prepareMaps(article) {
  const part = one(".differences", article);
  if (!part) return;
  const set = (name) => (value) => { part.dataset[name] = value; drawMaps(article); };
  const scales = part.dataset.scales.split(" ").map((scale) => [scale, `\u00b1${scale}`]);
  one(".map-tools", part).append(
    choices("Channel", [["luma", "Luminance"], ["red", "R"], ["green", "G"], ["blue", "B"]], "luma", set("channel")),
    choices("Scale", scales, part.dataset.scale, set("scale")),
  );
  const maps = all(".map", part);
  for (const canvas of all(".map canvas", part)) {
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const x = clamp(Math.floor(((event.clientX - box.left) / box.width) * canvas.width), 0, canvas.width - 1);
      const y = clamp(Math.floor(((event.clientY - box.top) / box.height) * canvas.height), 0, canvas.height - 1);
      for (const map of maps) {
        const { data, width } = levels(one("img", map));
        const value = Math.round(difference(data, 4 * (y * width + x), CHANNELS[part.dataset.channel ?? "luma"]));
        one(".reading", map).textContent = `${signed(value)} at (${x * part.dataset.block}, ${y * part.dataset.block})`;
      }
    });
    canvas.addEventListener("pointerleave", () => maps.forEach((map) => { one(".reading", map).textContent = ""; }));
  }
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
