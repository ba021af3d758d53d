// What is going on, how long already, and a button to cancel it.
import { button, element } from "../shared/elements.js";
import { showError } from "./errors.js";

// One place on a screen where work is shown. New work cancels what runs there.
export class Busy {
  constructor() {
    this.element = element("div", { className: "busy", hidden: true });
    this.element.setAttribute("role", "status");
    this.controller = null;
  }

  cancel() {
    this.controller?.abort();
  }

  // Run `work(signal, say)`; `say(text)` changes the shown text. Returns its result; undefined if it was cancelled or
  // failed, which is shown in the live region.
  async run(title, work) {
    this.cancel();
    const controller = new AbortController();
    this.controller = controller;
    const text = element("span", { className: "busy-text", textContent: title });
    const clock = element("span", { className: "busy-clock", ariaHidden: "true" });
    const stop = button("Cancel", "Cancel", () => controller.abort());
    this.element.replaceChildren(element("span", { className: "busy-bar", ariaHidden: "true" }), text, clock, stop);
    this.element.hidden = false;
    const since = performance.now();
    const timer = setInterval(() => { clock.textContent = `${Math.round((performance.now() - since) / 1000)} s`; }, 500);
    try {
      return await work(controller.signal, (now) => { text.textContent = now; });
    } catch (error) {
      if (!controller.signal.aborted) showError(error);
      return undefined;
    } finally {
      clearInterval(timer);
      if (this.controller === controller) this.element.hidden = true;
    }
  }
}
