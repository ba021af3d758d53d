// The screen VAEs: what is offered.
import { element } from "../shared/elements.js";
import { badge, named } from "../parts/vaes.js";

export async function mount(root, vaes) {
  const rows = vaes.map((vae, i) => element("li", {}, named(badge(i), vae.name), `: ${vae.family}, ${vae.latent_channels} channels at 1/${vae.factor}`));
  root.append(element("h1", { textContent: "VAEs" }), element("ul", { id: "vaes" }, ...rows));
}
