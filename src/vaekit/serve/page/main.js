// The page: one screen at a time, chosen by the part of the address after #. A screen is loaded when it is first shown,
// and keeps its state while others are shown.
import { all, element, one } from "./shared/elements.js";
import { themeChoice } from "./shared/theme.js";
import { clearErrors, showError } from "./parts/errors.js";
import { loadVAEs } from "./parts/vaes.js";

const main = one("#main");
const links = all(".bar nav a");
const titles = new Map(links.map((link) => [link.hash.slice(1), link.textContent]));
const screens = new Map();
let vaes = null;

async function mounted(name) {
  const root = element("div", { className: `screen ${name}` });
  const [screen] = await Promise.all([import(`./screens/${name}.js`), (vaes ??= loadVAEs())]);
  await screen.mount(root, await vaes);
  return root;
}

function screenInAddress() {
  const name = location.hash.slice(1);
  return titles.has(name) ? name : titles.keys().next().value;
}

async function show() {
  const name = screenInAddress();
  for (const link of links) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${titles.get(name)} · vaekit`;
  clearErrors();
  if (!screens.has(name)) screens.set(name, mounted(name));
  try {
    const root = await screens.get(name);
    if (name === screenInAddress()) main.replaceChildren(root);
  } catch (error) {
    screens.delete(name);
    vaes = null;
    showError(error);
  }
}

// Drawings in colors of the theme are made again: screens listen for "theme".
themeChoice(one(".theme-tools"), () => document.dispatchEvent(new Event("theme")));
addEventListener("hashchange", () => {
  if (location.hash === "#main") return; // The link that skips the navigation.
  show().then(() => main.focus({ preventScroll: true }));
  scrollTo(0, 0);
});
show();
