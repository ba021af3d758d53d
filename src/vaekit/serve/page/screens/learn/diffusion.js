// Lesson 5: noise in latent space, and what it costs to work there.
import { button, element } from "../../shared/elements.js";
import { Busy } from "../../parts/busy.js";
import { Latest } from "../../parts/latest.js";
import { channelStatistics, decodeLatents, paint } from "../../parts/latents.js";
import { range } from "../../parts/range.js";
import { stage } from "../../walk/stage.js";
import { channelCanvases, encodedInput, lessonVAE, noVAE } from "../../learn/picture.js";

const SIDE = 1024; // Of the image in the table of costs.
const STEPS = 12;
const PAUSE = 120; // Milliseconds between steps at least.
const FIRST = 4; // Channels that are shown.

function normals(count) {
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}

// (1 - t) latents + t noise, with noise of the mean and the standard deviation of each channel: what normalization makes
// of N(0, I).
function noisy(latents, statistics, noise, t) {
  const size = latents.values.length / statistics.length;
  const values = latents.values.map((value, i) => {
    const { mean, std } = statistics[Math.floor(i / size)];
    return (1 - t) * value + t * (mean + std * noise[i]);
  });
  return { ...latents, values };
}

function noisyPixels(canvas, source, noise, t) {
  const { width, height } = source;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const levels = source.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
  for (let i = 0; i < levels.data.length; i++) if (i % 4 < 3) levels.data[i] = (1 - t) * levels.data[i] + t * (127.5 + 64 * noise[i]);
  context.putImageData(levels, 0, 0);
}

function costs(vae) {
  const factor = vae.geometry.factors[0];
  const [pixels, positions] = [SIDE ** 2, (SIDE / factor) ** 2];
  const row = (title, many, few) => [title, many.toLocaleString("en"), few.toLocaleString("en"), `${(many / few).toLocaleString("en", { maximumFractionDigits: 1 })} times fewer`];
  const rows = [
    row("Numbers", 3 * pixels, vae.latent_channels * positions),
    row("Positions", pixels, positions),
    row("Pairs of positions, for attention", pixels ** 2, positions ** 2),
  ];
  const cells = (texts) => texts.map((text, i) => (i ? element("td", { textContent: text, className: "number" }) : element("th", { textContent: text, scope: "row" })));
  return element("div", { className: "scrolling" }, element("table", { className: "costs" },
    element("caption", { textContent: `An image of ${SIDE} \u00d7 ${SIDE} pixels, and its latents with ${vae.name}` }),
    element("thead", {}, element("tr", {}, ...["", "pixels", "latents", ""].map((text, i) => element("th", { textContent: text, scope: "col", className: i ? "number" : "" })))),
    element("tbody", {}, ...rows.map((texts) => element("tr", {}, ...cells(texts))))));
}

export async function lesson(vaes) {
  const vae = lessonVAE(vaes);
  const text = element("p", { className: "lesson-text" },
    "A diffusion model learns to remove noise. To make an image it begins with nothing but noise, and removes a little in each step, ",
    element("b", { textContent: "all of it in latent space" }), ". The VAE\u2019s decoder runs once, at the end. Move the slider to see what latents on that way look like when they are decoded.");
  if (!vae) return element("div", { className: "lesson-body" }, text, noVAE());
  const busy = new Busy();
  const [view, pixels] = [stage("Noise in latents, decoded"), stage("Noise in pixels")];
  const channels = element("div", { className: "noisy-channels" });
  const state = { latents: null, canvas: null, playing: false };
  const shown = new Latest(
    (t) => {
      const now = noisy(state.latents, state.statistics, state.noise, t);
      channels.replaceChildren(...channelCanvases(now).slice(0, FIRST));
      return decodeLatents(vae, now);
    },
    (image) => paint(view.canvas, image), (is) => view.working(is));
  const slider = range("Noise", { min: 0, max: 1, step: 0.01, value: 0.4, format: (t) => `${Math.round(100 * t)} %`, ends: ["image", "noise only"] }, (t) => show(t));
  const play = button("Play from noise to image", "Play from noise to image", () => (state.playing ? (state.playing = false) : run()));

  function show(t) {
    if (!state.latents) return undefined;
    noisyPixels(pixels.canvas, state.canvas, state.pixelNoise, t);
    return shown.ask(t);
  }

  async function run() {
    state.playing = true;
    play.textContent = "Stop";
    for (let step = 0; step <= STEPS && state.playing && play.isConnected; step++) {
      slider.set(1 - step / STEPS);
      await Promise.all([shown.running, new Promise((done) => { setTimeout(done, PAUSE); })]);
    }
    state.playing = false;
    play.textContent = "Play from noise to image";
  }

  const input = encodedInput(vae, busy, async ({ canvas, latents }) => {
    Object.assign(state, {
      latents, canvas, statistics: channelStatistics(latents), noise: normals(latents.values.length), pixelNoise: normals(4 * canvas.width * canvas.height),
    });
    view.size(latents.size);
    pixels.size(latents.size);
    await show(slider.value);
  }, 1);
  queueMicrotask(() => input.start());
  const figure = (made, title) => element("figure", {}, made, element("figcaption", {}, element("span", { textContent: title })));
  return element("div", { className: "lesson-body" }, text,
    element("div", { className: "walk-pair" }, figure(view.element, "Noise in latents, decoded"), figure(pixels.element, "As much noise in pixels")),
    figure(channels, "The first channels of the latents: what the model sees"),
    slider.element, element("div", { className: "tools" }, play),
    element("p", { className: "note", textContent: "Here the image is known, and the noise is only mixed out again. A diffusion model has to guess, in every step, what is behind the noise." }),
    element("h3", { textContent: "Why not in pixels?" }), costs(vae), busy.element, input.element);
}
