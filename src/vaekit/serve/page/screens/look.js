// The screen Look: an image and its reconstructions.
import { element } from "../shared/elements.js";
import { ImageInput } from "../parts/picture_input.js";

export async function mount(root, vaes) {
  const input = new ImageInput((image) => { root.dataset.image = image.name; });
  root.append(element("h1", { textContent: "Look" }), input.element);
  root.dataset.vaes = vaes.length;
}
