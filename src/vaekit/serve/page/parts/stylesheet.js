// The style sheet of one screen, loaded once.
import { element } from "../shared/elements.js";

const loaded = new Map();

export function stylesheet(href) {
  if (!loaded.has(href)) {
    loaded.set(href, new Promise((resolve, reject) => {
      const link = element("link", { rel: "stylesheet", href });
      link.addEventListener("load", resolve);
      link.addEventListener("error", () => reject(new Error(`${href} cannot be loaded.`)));
      document.head.append(link);
    }));
  }
  return loaded.get(href);
}
