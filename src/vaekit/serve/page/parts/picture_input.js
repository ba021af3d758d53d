// Where an image comes in: a file that is dropped, chosen or pasted, or a sample.
import { button, element } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { UsageError, showError } from "./errors.js";
import { readImage } from "./read_image.js";
import { SAMPLES } from "./samples.js";

const SIZES = [256, 512, 1024];
const FULL = 4096;
const OPTIONS = [...SIZES.map((size) => [size, `${size}`]), [FULL, "full"]];
let receiver = null; // The input that gets what is pasted: the one that was used last.

document.addEventListener("paste", (event) => {
  const file = imageIn(event.clipboardData);
  if (file && receiver?.element.isConnected) {
    event.preventDefault();
    receiver.take(file, "Pasted image");
  }
});

function imageIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0];
}

// `chosen(image)` is called with what `readImage` returns.
//   label    what the image is, such as "Image" or "From"
//   longest  pixels of the longer side at first; larger images are scaled down
//   sized    whether to offer other sizes
export class ImageInput {
  constructor(chosen, { label = "Image", longest = 512, sized = true } = {}) {
    Object.assign(this, { chosen, longest, source: null, turn: 0 });
    this.file = element("input", { type: "file", accept: "image/*", hidden: true });
    this.file.addEventListener("change", () => {
      if (this.file.files[0]) this.take(this.file.files[0]);
      this.file.value = "";
    });
    this.thumbnail = element("div", { className: "input-thumbnail" });
    this.about = element("p", { className: "input-about", textContent: "Drop an image here, or paste one." });
    const samples = SAMPLES.map(([title, draw]) =>
      button(title, `Use the sample image ${title}`, async () => this.take(await draw(), title)));
    const open = button("Choose a file\u2026", `${label}: choose a file`, () => this.file.click());
    open.className = "primary";
    this.element = element("section", { className: "image-input", ariaLabel: label },
      this.thumbnail,
      element("div", { className: "input-text" },
        element("h2", { textContent: label }), this.about,
        element("div", { className: "tools" }, open, this.file,
          element("span", { className: "samples" }, element("span", { className: "label", textContent: "or a sample:" }), ...samples)),
        ...(sized ? [choices("Longer side at most", OPTIONS, longest, (size) => this.resize(size))] : [])));
    this.listen();
    receiver ??= this;
  }

  listen() {
    const over = (is) => this.element.classList.toggle("over", is);
    this.element.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    this.element.addEventListener("dragleave", (event) => this.element.contains(event.relatedTarget) || over(false));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const file = imageIn(event.dataTransfer);
      if (file) this.take(file);
      else showError(new UsageError("No file was dropped. Save the image first, or copy and paste it."));
    });
    for (const type of ["pointerdown", "focusin"]) this.element.addEventListener(type, () => { receiver = this; });
  }

  resize(longest) {
    this.longest = longest;
    if (this.source) this.take(this.source.blob, this.source.name);
  }

  async take(blob, name = blob.name) {
    receiver = this;
    const turn = ++this.turn;
    try {
      const image = await readImage(blob, name, this.longest);
      if (turn !== this.turn) return; // Another one was chosen meanwhile.
      this.source = { blob, name };
      this.show(image);
      this.chosen(image);
    } catch (error) {
      showError(error);
    }
  }

  show({ name, width, height, from, canvas }) {
    this.element.classList.add("filled");
    const scaled = from[0] > width ? `, scaled from ${from[0]} \u00d7 ${from[1]}` : "";
    this.about.replaceChildren(element("b", {}, element("bdi", {}, name)), ` \u00b7 ${width} \u00d7 ${height} pixels${scaled}`);
    const small = element("canvas", { width: canvas.width, height: canvas.height, ariaHidden: "true" });
    small.getContext("2d").drawImage(canvas, 0, 0);
    this.thumbnail.replaceChildren(small);
  }
}
