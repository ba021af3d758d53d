// Groups of radio buttons and of check boxes that look alike.
import { element } from "./elements.js";

let groups = 0;

// Options are [value, label]; a label is text or a node. `isChosen` tells which are checked at first.
function group(type, title, options, isChosen, changed) {
  const name = `choice-${groups++}`;
  const labels = options.map(([value, label]) => {
    const input = element("input", { type, name, value, checked: isChosen(value) });
    input.addEventListener("change", () => changed(value, input));
    return element("label", {}, input, element("span", {}, label));
  });
  return element("fieldset", { className: "choices" }, element("legend", {}, title), ...labels);
}

// One of several: `choose` is called with the value.
export function choices(title, options, chosen, choose) {
  return group("radio", title, options, (value) => value === chosen, choose);
}

// Some of several: `choose` is called with the list of all chosen values, in the order of the options.
export function severalChoices(title, options, chosen, choose) {
  const now = new Set(chosen);
  return group("checkbox", title, options, (value) => now.has(value), (value, input) => {
    if (input.checked) now.add(value);
    else now.delete(value);
    choose(options.map(([each]) => each).filter((each) => now.has(each)));
  });
}
