// Save files.
import { element } from "../shared/elements.js";

const KEPT = 60_000; // Milliseconds: browsers read the address some time after the click.

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT);
}

// The name of a file without its extension.
export function stemOf(name) {
  return name.replace(/\.[^.]+$/, "") || "image";
}
