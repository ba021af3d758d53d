// The screen Walk: between items, along axes, and edits in latent space.
import { element } from "../shared/elements.js";
import { choices } from "../shared/choices.js";
import { getJSON } from "../parts/api.js";
import { stylesheet } from "../parts/stylesheet.js";
import { alongAxis } from "../walk/axis.js";
import { between } from "../walk/between.js";
import { edit } from "../walk/edit.js";
import { items } from "../walk/items.js";

const SIZES = [128, 256, 512];
const MODES = [["items", "From random points"], ["between", "Between two images"], ["axis", "Along an axis"], ["edit", "Edit light and color"]];
const OF_MAPS = ["between", "axis", "edit"];
const OF_VECTORS = ["items", "between", "axis"]; // Latents of one position have no light that all positions share.

export async function mount(root, vaes) {
  let [{ others }] = await Promise.all([getJSON("/api/vaes"), stylesheet("/page/walk.css")]);
  const parts = { between: between(), axis: alongAxis(), edit: edit(), items: items() };
  const state = { vae: null, mode: "between", longest: 256 };
  const place = element("div", {});
  const modes = element("div", {});
  const pick = element("select", { id: "walk-vae" });

  function list() {
    const group = (label, offered) => element("optgroup", { label }, ...offered.map((vae) => element("option", { value: vae.name, textContent: vae.name })));
    const kinds = [...new Set(others.map((vae) => vae.domain))];
    pick.replaceChildren(...(vaes.length ? [group("images", vaes)] : []), ...kinds.map((kind) => group(kind, others.filter((vae) => vae.domain === kind))));
    if (state.vae) pick.value = state.vae.name;
    if (!pick.value) pick.selectedIndex = 0;
  }

  const isMap = (vae) => !vae.geometry.size || vae.geometry.size.some((side, i) => side > vae.geometry.factors[i]);

  function choose() {
    state.vae = [...vaes, ...others].find((vae) => vae.name === pick.value);
    const ofImages = vaes.includes(state.vae);
    const suited = isMap(state.vae) ? OF_MAPS : OF_VECTORS;
    const offered = MODES.filter(([mode]) => suited.includes(mode));
    if (!suited.includes(state.mode) || !suited.includes("edit")) state.mode = suited[0];
    modes.replaceChildren(...(ofImages ? [choices("Walk", offered, state.mode, (mode) => { state.mode = mode; show(); })] : []));
    sizes.hidden = !ofImages || Boolean(state.vae.geometry.size);
    show();
  }

  function show() {
    const part = parts[vaes.includes(state.vae) ? state.mode : "items"];
    place.replaceChildren(part.element);
    part.use(state.vae, state.longest);
  }

  const sizes = choices("Longer side", SIZES.map((size) => [size, `${size}`]), state.longest, (longest) => { state.longest = longest; show(); });
  pick.addEventListener("change", choose);
  document.addEventListener("vaes", async () => {
    ({ others } = await getJSON("/api/vaes"));
    const before = state.vae.name;
    list();
    if (pick.value !== before) choose();
  });
  list();
  root.append(
    element("h1", { textContent: "Walk" }),
    element("p", { className: "lead", textContent: "A VAE turns an image into a point of its latent space. Walk from there, and see what is decoded on the way." }),
    element("div", { className: "walk-bar" },
      element("div", { className: "pick" }, element("label", { htmlFor: "walk-vae", textContent: "VAE" }), pick), modes, sizes),
    place);
  choose();
}
