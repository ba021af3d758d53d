// Lesson 3: what it changes to decode latents with another VAE, or with the scale and the shift of another model.
import { element } from "../../shared/elements.js";
import { choices } from "../../shared/choices.js";
import { Busy } from "../../parts/busy.js";
import { Latest } from "../../parts/latest.js";
import { decodeLatents, paint } from "../../parts/latents.js";
import { stage } from "../../walk/stage.js";
import { encodedInput, lessonVAE, mapVAEs, noVAE, psnrOf } from "../../learn/picture.js";

const [SD, SDXL, SHIFT] = [0.18215, 0.13025, 0.1159];

// { key, label, about, vae, change(value) }: `change` is what becomes of each raw value.
function mistakes(vae, vaes) {
  const same = (other) => other !== vae && other.latent_channels === vae.latent_channels && other.geometry.factors.join() === vae.geometry.factors.join();
  const own = (value) => value;
  return [
    { key: "scale", label: "scale of another model", vae, change: (value) => (value * SD) / SDXL,
      about: `Models store latents times a factor: ${SD} for SD 1, ${SDXL} for SDXL. Dividing those of one by the factor of the other makes them ${(SD / SDXL).toFixed(2)} times as large: too much contrast and color.` },
    { key: "unscaled", label: "scale forgotten", vae, change: (value) => value * SD,
      about: `Without dividing by ${SD} at all, latents are less than a fifth as large. The image is there, but gray and flat.` },
    { key: "shift", label: "shift forgotten", vae, change: (value) => value - SHIFT,
      about: `FLUX.1 also subtracts ${SHIFT}, and adds it again before decoding. If a program forgets that, all latents are a little too small: a color cast that is easy to overlook.` },
    ...mapVAEs(vaes).filter(same).map((other) => ({ key: `vae ${other.name}`, label: `by ${other.name}`, vae: other, change: own,
      about: `${other.name} has latents of the same shape, so nothing refuses them. If it was made for the same latent space, only details and colors differ: that is what swapping a VAE is for. If not, the result is no image of yours.` })),
  ];
}

export async function lesson(vaes) {
  const text = element("p", { className: "lesson-text" },
    "Latents mean something only to the VAE whose encoder made them, or to one that was trained for the same ", element("b", { textContent: "latent space" }),
    ". A decoder never complains: it decodes whatever numbers it gets. So a wrong VAE, or a right one with a wrong scale, shows in the image alone.");
  const vae = lessonVAE(vaes);
  if (!vae) return element("div", { className: "lesson-body" }, text, noVAE());
  const busy = new Busy();
  const [right, wrong] = [stage("Decoded correctly"), stage("Decoded with the mistake")];
  const options = mistakes(vae, vaes);
  const state = { mistake: options[0], latents: null };
  const about = element("p", { className: "lesson-text" });
  about.setAttribute("aria-live", "polite");
  const caption = element("span", { className: "reading" });

  const shown = new Latest(
    (mistake) => decodeLatents(mistake.vae, { ...state.latents, values: Float32Array.from(state.latents.values, mistake.change) }),
    (image) => {
      paint(wrong.canvas, image);
      caption.textContent = `PSNR to the left one ${psnrOf(right.canvas, wrong.canvas).toFixed(1)} dB`;
    },
    (is) => wrong.working(is));

  function choose(key) {
    state.mistake = options.find((each) => each.key === key);
    about.textContent = state.mistake.about;
    if (state.latents) shown.ask(state.mistake);
  }

  const input = encodedInput(vae, busy, async ({ latents }) => {
    right.size(latents.size);
    wrong.size(latents.size);
    const image = await busy.run("Decoding the latents\u2026", (signal) => decodeLatents(vae, latents, signal));
    if (!image) return;
    paint(right.canvas, image);
    state.latents = latents;
    await shown.ask(state.mistake);
  });
  choose(state.mistake.key);
  queueMicrotask(() => input.start());
  const alone = options.length > 3 ? [] : [element("p", { className: "note", textContent: `This server offers no other VAE with ${vae.latent_channels} channels at 1/${vae.factor}. One with other channels could not even be tried: its decoder expects another shape, and programs refuse it.` })];
  return element("div", { className: "lesson-body" }, text,
    choices("Same latents", options.map(({ key, label }) => [key, label]), state.mistake.key, choose),
    element("div", { className: "walk-pair" },
      element("figure", {}, right.element, element("figcaption", {}, element("span", { textContent: `By ${vae.name}, as encoded` }))),
      element("figure", {}, wrong.element, element("figcaption", {}, element("span", { textContent: "With the mistake" }), caption))),
    about, ...alone,
    element("p", { className: "note", textContent: "The screen VAEs shows which latent space each offered VAE has, and which scale and shift go with it." }),
    busy.element, input.element);
}
