// Elements of a page: find them, make them.
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];
export const one = (selector, root = document) => root.querySelector(selector);
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// An element with properties and children; children are nodes or text.
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function button(text, label, press) {
  const made = element("button", { type: "button", textContent: text, ariaLabel: label, title: label });
  made.addEventListener("click", press);
  return made;
}
