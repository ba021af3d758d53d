// Lesson 1: what the two networks do, with the latents drawn to scale.
import { element } from "../../shared/elements.js";
import { Busy } from "../../parts/busy.js";
import { decodeLatents, paint } from "../../parts/latents.js";
import { showError } from "../../parts/errors.js";
import { channelCanvases, encodedInput, lessonVAE, noVAE, psnrOf } from "../../learn/picture.js";

const COLORS = ["Red", "Green", "Blue"];

// One color channel of a canvas in its own color.
function colorPlane(canvas, channel) {
  const plane = element("canvas", { width: canvas.width, height: canvas.height });
  const context = plane.getContext("2d");
  context.drawImage(canvas, 0, 0);
  context.globalCompositeOperation = "multiply";
  context.fillStyle = ["#f00", "#0f0", "#00f"][channel];
  context.fillRect(0, 0, canvas.width, canvas.height);
  plane.setAttribute("role", "img");
  plane.setAttribute("aria-label", `${COLORS[channel]} values of the image`);
  return plane;
}

const count = (values) => values.toLocaleString("en");

export async function lesson(vaes) {
  const vae = lessonVAE(vaes);
  const text = element("p", { className: "lesson-text" },
    "A VAE is two networks. The ", element("b", { textContent: "encoder" }), " turns an image into ", element("b", { textContent: "latents" }),
    ", far fewer numbers. The ", element("b", { textContent: "decoder" }), " makes an image of them again. Diffusion models such as Stable Diffusion never see pixels: they work on latents, and the VAE turns the result into an image.");
  if (!vae) return element("div", { className: "lesson-body" }, text, noVAE());
  const busy = new Busy();
  const planes = element("div", { className: "planes empty" });
  const latentPlanes = element("div", { className: "latent-planes" });
  latentPlanes.style.setProperty("--factor", vae.geometry.factors[1]);
  const [original, result] = ["The image", "The decoded image"].map((label) => {
    const canvas = element("canvas", { width: 4, height: 3 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    return canvas;
  });
  const [before, between, after] = Array.from({ length: 3 }, () => element("figcaption", {}));

  async function encoded({ canvas, latents }) {
    const [, channels, height, width] = latents.shape;
    const [many, few] = [3 * canvas.width * canvas.height, latents.values.length];
    paint(original, canvas);
    planes.classList.remove("empty");
    planes.replaceChildren(...COLORS.map((_, channel) => colorPlane(canvas, channel)));
    latentPlanes.replaceChildren(...channelCanvases(latents));
    before.textContent = `${canvas.width} \u00d7 ${canvas.height} pixels of 3 colors: ${count(many)} numbers`;
    between.replaceChildren(`${width} \u00d7 ${height} positions of ${channels} channels, to scale: ${count(few)} numbers, `, element("b", { textContent: `${(many / few).toFixed(many / few < 10 ? 1 : 0)} times fewer` }));
    try {
      const image = await busy.run("Decoding the latents\u2026", (signal) => decodeLatents(vae, latents, signal));
      if (!image) return;
      paint(result, image);
      after.textContent = `The image, and what ${vae.name} decodes from its latents: PSNR ${psnrOf(canvas, result).toFixed(1)} dB`;
    } catch (error) {
      showError(error);
    }
  }
  const input = encodedInput(vae, busy, encoded);
  const arrow = (label) => element("p", { className: "arrow" }, element("span", { textContent: label }));
  queueMicrotask(() => input.start());
  return element("div", { className: "lesson-body" }, text,
    element("div", { className: "flow" },
      element("figure", { className: "flow-image" }, planes, before),
      arrow("encoder"),
      element("figure", { className: "flow-latents" }, latentPlanes, between),
      arrow("decoder"),
      element("figure", { className: "flow-result" }, element("div", { className: "planes" }, original, result), after)),
    busy.element,
    element("p", { className: "note", textContent: "What the latents do not hold, the decoder has to guess: fine texture, small text, faces in the distance. That is why a VAE matters for the look of every image that a diffusion model makes." }),
    input.element);
}
