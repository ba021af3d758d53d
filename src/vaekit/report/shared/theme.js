// Theme: the system's, or the reader's choice, which the browser remembers if it can.
import { choices } from "./choices.js";

const THEMES = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];

function remembered(value) {
  try {
    if (value === undefined) return localStorage.getItem("vaekit-theme");
    localStorage.setItem("vaekit-theme", value);
  } catch { /* A page opened from disk may have no storage. */ }
  return null;
}

// Put the choice into an element. `changed` is called after every change, for what is drawn in colors of the theme.
export function themeChoice(parent, changed) {
  const root = document.documentElement;
  const set = (theme) => {
    root.dataset.theme = theme;
    changed();
  };
  const known = THEMES.some(([theme]) => theme === remembered()) ? remembered() : "auto";
  root.dataset.theme = known;
  parent.append(choices("Theme", THEMES, known, (theme) => { remembered(theme); set(theme); }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => set(root.dataset.theme));
}
