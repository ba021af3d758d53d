// How the original and the reconstructions are named.
import { badge, named, originalBadge } from "../parts/vaes.js";

export function labelOf({ key, name, position }) {
  return named(key === "original" ? originalBadge() : badge(position), name);
}
