// The screen Learn.
import { element } from "../shared/elements.js";

export async function mount(root, vaes) {
  root.append(element("h1", { textContent: "Learn" }), element("p", { textContent: `${vaes.length} VAEs are offered.` }));
}
