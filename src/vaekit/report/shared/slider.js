// The divider between two images that lie on each other, moved by mouse, finger and keys.
import { clamp } from "./elements.js";

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

// Let `divider`, an element with role=slider inside `slider`, follow. `describe(percent)` is the text for screen readers.
export function followDivider(slider, divider, describe) {
  let split = 50;
  function move(percent) {
    split = clamp(percent, 0, 100);
    slider.style.setProperty("--split", `${split}%`);
    divider.setAttribute("aria-valuenow", Math.round(split));
    divider.setAttribute("aria-valuetext", describe(Math.round(split)));
  }
  const follow = (event) => {
    const box = slider.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  };
  slider.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    slider.setPointerCapture(event.pointerId);
    slider.classList.add("moving");
    divider.focus({ preventScroll: true });
    follow(event);
    event.preventDefault();
  });
  slider.addEventListener("pointermove", (event) => slider.hasPointerCapture(event.pointerId) && follow(event));
  slider.addEventListener("lostpointercapture", () => slider.classList.remove("moving"));
  divider.addEventListener("keydown", (event) => {
    if (event.key === "Home") move(0);
    else if (event.key === "End") move(100);
    else if (event.key in STEPS) move(split + STEPS[event.key] * (event.shiftKey ? 10 : 1));
    else return;
    event.preventDefault();
  });
  move(split);
}

// Small images are enlarged by an integer factor, without smoothing; larger ones fit the page.
export function sizeSlider(compare, own, aspect) {
  const small = own < 480;
  compare.style.setProperty("--widest", `${small ? Math.floor(960 / own) * own : 1.5 * own}px`);
  compare.style.setProperty("--aspect", aspect);
  compare.classList.toggle("pixelated", small);
}
