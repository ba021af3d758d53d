// The live region for errors below the header.
import { button, element, one } from "../shared/elements.js";

const region = one("#errors");

// Show what went wrong until it is dismissed or the screen changes. Canceled requests are not errors.
export function showError(error) {
  if (error.name === "AbortError") return;
  if (error.name !== "ApiError" && error.name !== "UsageError") console.error(error);
  const dismiss = button("\u00d7", "Dismiss", clearErrors);
  region.replaceChildren(element("p", { className: "warning" }, element("span", {}, error.message), dismiss));
}

export function clearErrors() {
  region.replaceChildren();
}

// What the person in front of the page can mend: a file that is not an image, for example.
export class UsageError extends Error {
  name = "UsageError";
}
