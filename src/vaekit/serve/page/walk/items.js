// Walks between items of other data, such as molecules or sentences: the server decodes and draws every point.
import { button, element } from "../shared/elements.js";
import { postJSON, vaePath } from "../parts/api.js";
import { Busy } from "../parts/busy.js";
import { Latest } from "../parts/latest.js";
import { signedFixed } from "../parts/numbers.js";
import { range } from "../parts/range.js";
import { spherical } from "./paths.js";

const POINTS = 7;
const FARTHEST = 3; // Standard deviations of the prior N(0, I).
const EXAMPLES = {
  molecules: ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"],
  text: ["a man is riding a horse .", "two children play in the snow ."],
};
const SEEDS = 2 ** 31 - 1;

const randomSeed = () => ({ seed: Math.floor(Math.random() * SEEDS) });

// One item: its drawing, and its text where it has one.
function card({ image, text, valid }, title) {
  const drawing = image ? [element("img", { src: image, alt: text ?? title })] : [];
  const words = text === null ? [] : [element("p", { className: valid ? "item-text" : "item-text invalid", textContent: text || "(empty)" })];
  return element("figure", { className: "item-card" }, ...drawing, ...words, element("figcaption", { textContent: title }));
}

export function items() {
  const state = { vae: null, ends: [null, null], turn: 0 };
  const busy = new Busy();
  const live = element("div", { className: "item-live" });
  const strip = element("div", { className: "item-strip" });
  const axisStrip = element("div", { className: "item-strip" });
  const about = element("p", { className: "lead" });
  const walk = async (points, signal) => (await postJSON(vaePath(state.vae.name, "walk"), { points }, { signal })).json();
  const shown = new Latest(
    async (t) => ({ t, answer: await walk([{ latent: [...spherical(state.ends[0].latent, state.ends[1].latent, t)] }]) }),
    ({ t, answer }) => live.replaceChildren(card(answer.points[0], `${Math.round(100 * t)} % of the way`)),
    (is) => live.classList.toggle("working", is));
  const slider = range("Position", {
    min: 0, max: 1, step: 0.02, value: 0.5, ends: ["From", "To"], format: (t) => `${Math.round(100 * t)} % of the way`,
  }, (t) => state.ends[1] && shown.ask(t));
  const axisShown = new Latest(
    async (axis) => {
      const { latent } = state.ends[0];
      const steps = Array.from({ length: POINTS }, (_, i) => FARTHEST * (2 * i / (POINTS - 1) - 1));
      const points = steps.map((step) => ({ latent: latent.map((value, i) => (i === axis ? step : value)) }));
      return { steps, answer: await walk(points) };
    },
    ({ steps, answer }) => axisStrip.replaceChildren(...answer.points.map((point, i) => card(point, signedFixed(steps[i], 0)))),
    (is) => axisStrip.classList.toggle("working", is));
  const axis = range("Axis", { min: 0, max: 1, step: 1, value: 0, format: String }, (at) => state.ends[0] && axisShown.ask(at));

  const fields = ["From", "To"].map((label, i) => {
    const text = element("input", { type: "text", maxLength: 1000, spellcheck: false, autocomplete: "off", ariaLabel: `${label}: text of an item` });
    const end = element("div", { className: "item-end" });
    const form = element("form", { className: "item-form" }, text, element("button", { type: "submit", textContent: "Encode" }),
      button("Random", `${label}: draw one from the prior`, () => set(i, randomSeed())));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (text.value.trim()) set(i, { text: text.value.trim() });
    });
    return { element: element("section", { className: "panel item-input", ariaLabel: label }, element("h2", { textContent: label }), form, end), text, form, end };
  });

  // Put an end at a point, and show the way between both.
  async function set(i, point) {
    const turn = ++state.turn;
    const found = await busy.run("Encoding\u2026", (signal) => walk([point], signal));
    if (!found || turn !== state.turn) return;
    [state.ends[i]] = found.points;
    if (point.text === undefined) fields[i].text.value = "";
    fields[i].end.replaceChildren(card(found.points[0], point.text === undefined ? "drawn from the prior" : "as the VAE reconstructs it"));
    await show(turn);
  }

  async function show(turn) {
    const [a, b] = state.ends;
    if (!a || !b) return;
    const along = Array.from({ length: POINTS }, (_, i) => i / (POINTS - 1));
    const answer = await busy.run("Decoding the points between\u2026", (signal) => walk(along.map((t) => ({ latent: [...spherical(a.latent, b.latent, t)] })), signal));
    if (!answer || turn !== state.turn) return;
    strip.replaceChildren(...answer.points.map((point, i) => card(point, `${Math.round(100 * along[i])} %`)));
    shown.ask(slider.value);
    axis.input.max = a.latent.length - 1;
    axis.set(Math.min(axis.value, a.latent.length - 1));
  }

  const root = element("div", { className: "walk-part" }, about,
    element("div", { className: "walk-inputs" }, ...fields.map((field) => field.element)), busy.element,
    element("section", {}, element("h2", { textContent: "Between them" }), slider.element, live, strip),
    element("section", {}, element("h2", { textContent: "Along an axis of the first one" }), axis.element, axisStrip));

  async function use(vae) {
    const turn = ++state.turn;
    Object.assign(state, { vae, ends: [null, null] });
    for (const part of [live, strip, axisStrip]) part.replaceChildren();
    about.textContent = `Points of the latent space of a VAE of ${vae.domain}, decoded and drawn by the server.`;
    for (const { text, form } of fields) {
      text.hidden = !vae.texts;
      form.querySelector("[type=submit]").hidden = !vae.texts;
    }
    const examples = EXAMPLES[vae.domain];
    const starts = examples?.map((text) => ({ text })) ?? [randomSeed(), randomSeed()];
    const answers = await busy.run("Encoding two examples\u2026", async (signal) => {
      try {
        return await walk(starts, signal);
      } catch (error) {
        if (signal.aborted || !examples) throw error;
        return walk([randomSeed(), randomSeed()], signal); // Examples with tokens that this VAE does not know.
      }
    });
    if (!answers || turn !== state.turn) return;
    state.ends = answers.points;
    answers.points.forEach((point, i) => {
      if (examples) fields[i].text.value = examples[i];
      fields[i].end.replaceChildren(card(point, examples ? "as the VAE reconstructs it" : "drawn from the prior"));
    });
    await show(turn);
  }
  return { element: root, use };
}
