// Between two images: a slider from one to the other, live; a strip and an animation.
import { button, element } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { postJSON, vaePath } from "../parts/api.js";
import { Busy } from "../parts/busy.js";
import { Latest } from "../parts/latest.js";
import { covering, decodeLatents, encodeCanvas, paint, sizeFor } from "../parts/latents.js";
import { ImageInput } from "../parts/picture_input.js";
import { range } from "../parts/range.js";
import { pngOf } from "../parts/read_image.js";
import { withSamples } from "./first_use.js";
import { PATHS, ghostIndex, ghostWords } from "./paths.js";
import { stage } from "./stage.js";

const STEPS = 5;
const SECONDS = 4; // From one end to the other.
const THROUGH = [["latents", "latents"], ["pixels", "pixels, to compare"]];
const PATH_NAMES = [["linear", "straight"], ["spherical", "spherical"]];

async function base64Of(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

function dataOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
}

function blended(a, b, t) {
  const canvas = element("canvas", { width: a.width, height: a.height });
  const context = canvas.getContext("2d");
  context.drawImage(a, 0, 0);
  context.globalAlpha = t;
  context.drawImage(b, 0, 0);
  return canvas;
}

// Returns { element, use(vae, longest) }.
export function between() {
  const state = { vae: null, longest: 256, images: {}, ends: null, path: "linear", through: "latents", turn: 0, playing: null };
  const busy = new Busy();
  const view = stage();
  const verdict = element("p", { className: "walk-verdict" });
  verdict.setAttribute("aria-live", "polite");
  const made = element("div", { className: "walk-made" });
  const inputs = ["From", "To"].map((label, i) => new ImageInput((image) => {
    state.images[i] = image;
    encode();
  }, { label, longest: 1024, sized: false }));

  const shown = new Latest(
    async (t) => {
      const { a, b, canvases } = state.ends;
      if (state.through === "pixels") return blended(...canvases, t);
      return decodeLatents(state.vae, { ...a, values: PATHS[state.path](a.values, b.values, t) });
    },
    (image) => paint(view.canvas, image), (is) => view.working(is));
  const slider = range("Position", {
    min: 0, max: 1, step: 0.01, value: 0.5, ends: ["From", "To"], format: (t) => `${Math.round(100 * t)} % of the way`,
  }, (t) => state.ends && shown.ask(t));
  const play = button("Play", "Play from one image to the other and back", () => (state.playing ? stop() : start()));
  const make = button("Make a strip and an animation", "Make a strip and an animation", () => strip());

  function start() {
    const since = performance.now() - 1000 * SECONDS * slider.value;
    play.textContent = "Stop";
    const frame = () => {
      if (!view.element.isConnected) return stop();
      const turn = ((performance.now() - since) / (1000 * SECONDS)) % 2;
      slider.set(turn > 1 ? 2 - turn : turn);
      state.playing = requestAnimationFrame(frame);
    };
    frame();
  }

  function stop() {
    cancelAnimationFrame(state.playing);
    state.playing = null;
    play.textContent = "Play";
  }
  slider.input.addEventListener("pointerdown", () => state.playing && stop());

  async function encode() {
    const [first, second] = [state.images[0], state.images[1]];
    if (!first || !second || !state.vae) return;
    const turn = ++state.turn;
    made.replaceChildren();
    verdict.textContent = "";
    const size = sizeFor(state.vae, first.width, first.height, state.longest);
    const canvases = [first, second].map((image) => covering(image.canvas, size));
    const ends = await busy.run("Encoding both images\u2026", async (signal) => {
      const [a, b] = [await encodeCanvas(state.vae, canvases[0], signal), await encodeCanvas(state.vae, canvases[1], signal)];
      return { a, b, canvases };
    });
    if (!ends || turn !== state.turn) return;
    state.ends = ends;
    view.size(size);
    await shown.ask(slider.value);
    await judge(turn);
  }

  async function judge(turn) {
    const { a, b } = state.ends;
    const middle = { ...a, values: PATHS[state.path](a.values, b.values, 0.5) };
    const decoded = await busy.run("Comparing the middle with a blend\u2026", async (signal) => {
      const images = [];
      for (const each of [a, middle, b]) images.push(dataOf(covering(await decodeLatents(state.vae, each, signal), a.size)));
      return images;
    });
    if (decoded && turn === state.turn) verdict.textContent = ghostWords(ghostIndex(...decoded), a.shape[2] * a.shape[3] > 1);
  }

  async function strip() {
    if (!state.ends) return;
    const answer = await busy.run("Decoding the strip\u2026", async (signal) => {
      const images = [];
      for (const canvas of state.ends.canvases) images.push(await base64Of(await pngOf(canvas)));
      return (await postJSON(vaePath(state.vae.name, "interpolate"), { images, steps: STEPS, path: state.path }, { signal })).json();
    });
    if (!answer) return;
    const figure = (source, title, name) => element("figure", {},
      element("img", { src: source, alt: title }),
      element("figcaption", {}, element("span", { textContent: title }), element("a", { href: source, download: name, textContent: "Save" })));
    made.replaceChildren(figure(answer.strip, `Strip of ${answer.items} images`, "strip.png"), figure(answer.animation, "Animation", "animation.webp"));
  }

  const root = element("div", { className: "walk-part" },
    element("div", { className: "walk-live" }, view.element,
      element("div", { className: "walk-controls" }, slider.element,
        element("div", { className: "tools" }, play),
        choices("Path", PATH_NAMES, state.path, (path) => {
          state.path = path;
          if (state.ends) shown.ask(slider.value).then(() => judge(state.turn));
        }),
        choices("Through", THROUGH, state.through, (through) => {
          state.through = through;
          if (state.ends) shown.ask(slider.value);
        }),
        verdict, element("div", { className: "tools" }, make))),
    busy.element, made,
    element("div", { className: "walk-inputs" }, ...inputs.map((input) => input.element)));
  return { element: root, use: withSamples(state, inputs, encode) };
}
