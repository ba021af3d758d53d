// Save an offered VAE in another layout and dtype.
import { button, element } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { getFile, vaePath } from "../parts/api.js";
import { Busy } from "../parts/busy.js";
import { save } from "../parts/download.js";
import { fileSize } from "../parts/numbers.js";

const DTYPES = [["", "as stored"], ["fp32", "fp32"], ["bf16", "bf16"], ["fp16", "fp16"]];
const ABOUT = {
  native: "One safetensors file with vaekit\u2019s own names, which states the normalization.",
  diffusers: "A ZIP archive with the folder that diffusers loads: config.json and the weights.",
  ldm: "One safetensors file with the names of Stable Diffusion checkpoints, for A1111, Forge and ComfyUI.",
  original: "One safetensors file with the names of the model\u2019s authors.",
  tiny: "A ZIP archive with the encoder and the decoder of a tiny autoencoder, for ComfyUI.",
};

export function conversion(vae) {
  const wanted = { layout: vae.layouts[0], dtype: "" };
  const busy = new Busy();
  const about = element("p", { className: "where", textContent: ABOUT[wanted.layout] });
  const layouts = vae.layouts.map((name) => [name, name]);
  const start = button("Convert and save", `Convert ${vae.name} and save it`, () => busy.run("Converting\u2026", async (signal, say) => {
    const query = new URLSearchParams({ layout: wanted.layout, ...(wanted.dtype && { dtype: wanted.dtype }) });
    const { blob, name } = await getFile(`${vaePath(vae.name, "file")}?${query}`, {
      signal, progress: (done, whole) => say(`Receiving\u2026 ${fileSize(done)} of ${fileSize(whole)}`),
    });
    save(blob, name);
  }));
  start.className = "primary";
  return element("details", { className: "conversion" },
    element("summary", { textContent: "Convert and save" }),
    element("div", { className: "conversion-tools" },
      choices("Layout", layouts, wanted.layout, (layout) => { wanted.layout = layout; about.textContent = ABOUT[layout]; }),
      about,
      choices("Weights", DTYPES, wanted.dtype, (dtype) => { wanted.dtype = dtype; }),
      element("div", { className: "tools" }, start), busy.element));
}
