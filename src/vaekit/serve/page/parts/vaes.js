// The offered VAEs, and how they are named on screens.
import { element } from "../shared/elements.js";
import { getJSON, postJSON } from "./api.js";

// The list of GET /api/vaes. It stays the same array: `refreshVAEs` changes it and sends "vaes" to the document.
const known = [];
let unusable = [];

export async function loadVAEs() {
  const answer = await getJSON("/api/vaes");
  known.splice(0, known.length, ...answer.vaes);
  unusable = answer.unusable;
  return known;
}

// Other weights files in its models folders: { name, reason }.
export function unusableFiles() {
  return unusable;
}

// Let the server look into its models folders again.
export async function refreshVAEs() {
  await postJSON("/sdapi/v1/refresh-vae", {});
  await loadVAEs();
  document.dispatchEvent(new Event("vaes"));
}

// Letter and color, as in reports; `position` is that among the compared VAEs.
export function badge(position) {
  const letter = String.fromCharCode(65 + position);
  return element("span", { className: `badge candidate-${position % 6}`, textContent: letter });
}

export function originalBadge() {
  return element("span", { className: "badge original", textContent: "O" });
}

// A label of badge and name.
export function named(mark, name) {
  return element("span", { className: "named" }, mark, " ",
    element("span", { className: "candidate-name", title: name }, element("bdi", {}, name)));
}
