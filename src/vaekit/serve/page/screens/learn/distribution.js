// Lesson 2: why the encoder gives a distribution: the latent space of a VAE beside that of a plain autoencoder.
import { button, element } from "../../shared/elements.js";
import { choices } from "../../shared/choices.js";
import { decodeDigit, loadDigits, paintDigits } from "../../learn/digits.js";
import { COLORS, plane } from "../../learn/plane.js";

const STEPS = 9;
const DRAWN = 9;
const TITLES = { vae: "VAE", autoencoder: "Plain autoencoder" };
const ABOUT = {
  vae: (farthest) => `Every digit is a small cloud. Together they fill one round cloud around 0, with the size of a normal distribution: the farthest point is at ${farthest}. About everything in it decodes to a digit, or to a blend of two neighbors.`,
  autoencoder: (farthest) => `Every digit is a point, wherever it was easiest to tell it from others. They crowd into a star with arms as long as ${farthest}. Most of the plane belongs to no digit, and decodes to repetitions and blots.`,
};

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function side(model, labels, size) {
  const big = element("canvas", { className: "digit", width: size, height: size });
  big.setAttribute("role", "img");
  big.setAttribute("aria-label", `Digit that the ${TITLES[model.name]} decodes at the point`);
  const [between, drawn] = ["Between two test digits", "At random points of a standard normal distribution"].map((title) => {
    const canvas = element("canvas", { className: "digits" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}, ${TITLES[model.name]}`);
    return { canvas, element: element("figure", {}, canvas, element("figcaption", {}, element("span", { textContent: title }))) };
  });
  const view = plane(model, labels, size, TITLES[model.name], (point) => paintDigits(big, [decodeDigit(model, point)], size));
  const farthest = Math.round(Math.max(...model.points.map(([x, y]) => Math.hypot(x, y))));
  return {
    element: element("section", { className: "space" }, element("h3", { textContent: TITLES[model.name] }),
      element("div", { className: "plane-place" }, view.element, big),
      element("p", { className: "note", textContent: ABOUT[model.name](farthest) }), between.element, drawn.element),
    walk([first, second]) {
      const [a, b] = [model.points[first], model.points[second]];
      const path = Array.from({ length: STEPS }, (_, i) => a.map((value, axis) => value + ((b[axis] - value) * i) / (STEPS - 1)));
      view.path(path);
      view.move(path[(STEPS - 1) / 2]);
      paintDigits(between.canvas, path.map((point) => decodeDigit(model, point)), size);
    },
    draw() {
      paintDigits(drawn.canvas, Array.from({ length: DRAWN }, () => decodeDigit(model, [normal(), normal()])), size);
    },
    map: view.map,
  };
}

export async function lesson() {
  const { side: size, models, labels } = await loadDigits();
  const sides = models.map((model) => side(model, labels, size));

  // Two test digits of different classes.
  function pair() {
    const any = () => Math.floor(Math.random() * labels.length);
    const first = any();
    let second = any();
    while (labels[second] === labels[first]) second = any();
    return [first, second];
  }
  const walk = () => {
    const chosen = pair();
    for (const each of sides) each.walk(chosen);
  };
  const draw = () => { for (const each of sides) each.draw(); };
  const legend = element("p", { className: "digit-legend", ariaLabel: "Colors of the digits" },
    ...COLORS.map((color, digit) => {
      const key = element("span", {}, element("i", {}), `${digit}`);
      key.firstChild.style.background = color;
      return key;
    }));
  queueMicrotask(() => {
    for (const each of sides) each.map(true);
    walk();
    draw();
  });
  return element("div", { className: "lesson-body" },
    element("p", { className: "lesson-text" }, "Here are two networks with only ", element("b", { textContent: "two" }),
      " latents, so that all of their space fits on a page. Each colored point is a handwritten digit that neither has seen before. ",
      element("b", { textContent: "Drag the ring" }), ", and watch what is decoded there."),
    element("div", { className: "tools" }, legend,
      choices("Background", [[true, "what is decoded everywhere"], [false, "points only"]], true, (shown) => { for (const each of sides) each.map(shown); })),
    element("div", { className: "spaces" }, ...sides.map((each) => each.element)),
    element("div", { className: "tools" },
      button("Another pair", "Walk between another pair of test digits", walk), button("Draw again", "Draw other random points", draw)),
    element("p", { className: "lesson-text" }, "The encoder of a VAE does not say \u201cthis point\u201d, but \u201csomewhere around here\u201d: a mean and a standard deviation. In training, the decoder gets a random point of that cloud, so it has to make sense of the surroundings, too; and a penalty, the KL divergence, pulls all clouds to the center. So there are hardly any holes, and everybody knows where to look: random points of a normal distribution decode to all kinds of digits. Of the autoencoder, they reach only the middle of the star."));
}
