// A slider for a number, with its value as text.
import { element } from "../shared/elements.js";

let count = 0;

// `changed(value)` is called while the slider moves. `format(value)` is the shown text; `ends` are labels of both ends.
export function range(label, { min, max, step, value, format = String, ends = [] }, changed) {
  const id = `range-${count++}`;
  const input = element("input", { type: "range", id, min, max, step, value });
  const output = element("output", { htmlFor: id });
  const show = () => {
    output.textContent = format(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { show(); changed(input.valueAsNumber); });
  show();
  const made = element("div", { className: "range" },
    element("label", { htmlFor: id, textContent: label }), output, input,
    ...(ends.length ? [element("span", { className: "range-ends", ariaHidden: "true" }, ...ends.map((end) => element("span", {}, end)))] : []));
  const set = (next) => {
    input.value = next;
    show();
    changed(input.valueAsNumber);
  };
  return { element: made, input, set, get value() { return input.valueAsNumber; } };
}
