// Inspect a file of this device: only the header of a safetensors file is sent.
import { button, element } from "../shared/elements.js";
import { postBytes } from "../parts/api.js";
import { Busy } from "../parts/busy.js";
import { UsageError } from "../parts/errors.js";
import { fileSize } from "../parts/numbers.js";
import { factList, headline, mainFacts, moreFacts, problemList } from "./facts.js";

const LENGTH = 8; // Bytes before the JSON of a header: its length.
const LARGEST = 2 * 2 ** 20;
const ENDINGS = [".safetensors", ".sft"];
const UNKNOWN = "Not known without the weights: the fingerprint, and with it which known VAE it is and whether it is safe in fp16; NaN; a normalization that is stored in tensors.";

async function headerOf(file) {
  if (!ENDINGS.some((ending) => file.name.toLowerCase().endsWith(ending))) {
    throw new UsageError(`${file.name} is no safetensors file, and other formats have no header that says enough. Run this where the file is: vaekit inspect ${file.name}`);
  }
  const start = new DataView(await file.slice(0, LENGTH).arrayBuffer());
  const length = start.byteLength === LENGTH ? Number(start.getBigUint64(0, true)) : Infinity;
  if (LENGTH + length > file.size) throw new UsageError(`${file.name} is damaged, incomplete or no safetensors file.`);
  if (LENGTH + length > LARGEST) throw new UsageError(`The header of ${file.name} has ${fileSize(length)}, more than is sent. Run this where the file is: vaekit inspect ${file.name}`);
  return file.slice(0, LENGTH + length).arrayBuffer();
}

export function fileInspector() {
  const busy = new Busy();
  const result = element("div", { className: "inspected", ariaLive: "polite" });
  const chooser = element("input", { type: "file", accept: ENDINGS.join(","), hidden: true });

  async function take(file) {
    result.replaceChildren();
    const found = await busy.run(`Inspecting ${file.name}\u2026`, async (signal) => {
      const header = await headerOf(file);
      const answer = await postBytes(`/api/inspect?size=${file.size}`, header, { type: "application/octet-stream", signal });
      return { vae: await answer.json(), sent: header.byteLength };
    });
    if (!found) return;
    const { vae, sent } = found;
    result.replaceChildren(element("article", { className: "panel vae" },
      element("h3", {}, element("bdi", {}, file.name)),
      element("p", { className: "headline", textContent: headline(vae) }),
      ...(vae.runnable ? [] : [element("p", { className: "warning", textContent: "vaekit recognizes this VAE, but cannot run it." })]),
      ...problemList(vae.problems),
      factList([...mainFacts({ ...vae, bytes: file.size }), ...moreFacts(vae)]),
      element("p", { className: "where", textContent: `${UNKNOWN} ${fileSize(sent)} of ${fileSize(file.size)} were sent.` })));
  }

  chooser.addEventListener("change", () => {
    if (chooser.files[0]) take(chooser.files[0]);
    chooser.value = "";
  });
  const open = button("Choose a file\u2026", "Choose a safetensors file to inspect", () => chooser.click());
  const area = element("div", { className: "image-input file-input" },
    element("div", { className: "input-text" },
      element("p", { className: "input-about", textContent: "Drop a .safetensors file here. Only its header is sent, never the weights." }),
      element("div", { className: "tools" }, open, chooser)));
  const over = (is) => area.classList.toggle("over", is);
  area.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  area.addEventListener("dragleave", (event) => area.contains(event.relatedTarget) || over(false));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  return element("section", {}, element("h2", { textContent: "Inspect a file" }), area, busy.element, result);
}
