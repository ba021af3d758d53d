// Lesson 4: why pixel losses blur, and what perceptual and adversarial ones do.
import { element } from "../../shared/elements.js";
import { choices } from "../../shared/choices.js";
import { range } from "../../parts/range.js";
import { average, meanSquaredError, strokes } from "../../learn/strokes.js";

const VERSIONS = 12;
const SHOWN = 3;
const CROPS = [[1, "wall"], [2, "motorcycles"], [3, "hair"]];
const NAMES = { pixel: "pixel loss", perceptual: "perceptual", adversarial: "adversarial" };

function guessing() {
  const truths = Array.from({ length: SHOWN }, () => element("canvas", {}));
  const guess = element("canvas", {});
  const numbers = element("p", { className: "lesson-text" });
  function show(pixels) {
    const versions = strokes(VERSIONS, pixels);
    const mean = average(versions);
    truths.forEach((canvas, i) => versions[i].draw(canvas));
    mean.draw(guess);
    const error = (one) => versions.reduce((sum, version) => sum + meanSquaredError(one, version), 0) / VERSIONS;
    const [blurred, sharp] = [error(mean), versions.reduce((sum, version) => sum + error(version), 0) / VERSIONS];
    numbers.replaceChildren(...(pixels === 0
      ? ["There is only one possibility: no error, and nothing to blur."]
      : ["Mean squared error to what it might have been: ", element("b", { textContent: `${Math.round(blurred)} for the blurred average` }),
        `, ${Math.round(sharp)} for a sharp image that took one of them. So a network that is trained to have small errors of pixels learns to blur whatever it is not sure of.`]));
  }
  const slider = range("How unsure the place of each stroke is", { min: 0, max: 6, step: 0.5, value: 2, format: (pixels) => `\u00b1 ${pixels} pixels` }, show);
  const figure = (canvas, title) => {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    return element("figure", {}, canvas, element("figcaption", {}, element("span", { textContent: title })));
  };
  show(slider.value);
  return element("section", { className: "guessing" },
    element("p", { className: "lesson-text" }, "Latents do not say where every hair is. All sharp images on the left could be the right one. The one with the ",
      element("b", { textContent: "smallest squared error" }), " to all of them is their average:"),
    element("div", { className: "versions" }, ...truths.map((canvas, i) => figure(canvas, `possible ${i + 1}`)), figure(guess, "their average")),
    slider.element, numbers);
}

async function trained() {
  const answer = await fetch("/page/learn/losses.json");
  const { side, between, stages, stops } = await answer.json();
  const state = { crop: 1, stop: 0 };
  const [original, result] = [element("div", { className: "crop" }), element("div", { className: "crop" })];
  const reading = element("p", { className: "lesson-text" });
  reading.setAttribute("aria-live", "polite");
  const rows = stops.length + 1;
  original.style.setProperty("--rows", rows);
  result.style.setProperty("--rows", rows);
  for (const each of [original, result]) each.append(element("img", { width: side, height: side * rows }));
  const place = (at) => {
    const before = Math.floor(at / between);
    return at % between ? `between ${NAMES[stages[before]]} and ${NAMES[stages[before + 1]]}` : NAMES[stages[before]];
  };

  function show() {
    const source = `/page/learn/losses-${state.crop}.webp`;
    const title = CROPS.find(([number]) => number === state.crop)[1];
    for (const [box, row, label] of [[original, 0, "original"], [result, state.stop + 1, `decoder trained with: ${place(state.stop)}`]]) {
      box.style.setProperty("--row", row);
      Object.assign(box.firstChild, { src: source, alt: `${title}, ${label}` });
    }
    const { psnr, lpips } = stops[state.stop];
    reading.textContent = `Held-out images: PSNR ${psnr.toFixed(2)} dB, higher is better; LPIPS ${lpips.toFixed(3)}, lower is better.`;
  }
  const slider = range("Trained with", { min: 0, max: stops.length - 1, step: 1, value: 0, format: place, ends: stages.map((stage) => NAMES[stage]) }, (stop) => { state.stop = stop; show(); });
  show();
  const figure = (box, title) => element("figure", {}, box, element("figcaption", {}, element("span", { textContent: title })));
  return element("section", { className: "trained" },
    element("h3", { textContent: "The same decoder, trained with three losses" }),
    element("p", { className: "lesson-text" }, "A ", element("b", { textContent: "perceptual" }), " loss compares features of a network that recognizes objects, so that sharp texture in the wrong place costs less than none. An ",
      element("b", { textContent: "adversarial" }), " one asks a second network whether the result looks real. Both give up exactness for sharpness."),
    choices("Image", CROPS, state.crop, (crop) => { state.crop = crop; show(); }),
    element("div", { className: "crops" }, figure(original, "original"), figure(result, "decoded")),
    slider.element, reading,
    element("p", { className: "note", textContent: "Real runs of bench/learn_losses.py: the decoder of the built-in VAE, with 4 of its 16 channels, was trained for a few minutes with each loss in turn; between them, weights are blended. The images are crops of the Kodak set, which it was not trained on." }));
}

export async function lesson() {
  return element("div", { className: "lesson-body" }, guessing(), await trained());
}
