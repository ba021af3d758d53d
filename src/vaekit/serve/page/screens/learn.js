// The screen Learn: a tour in five short lessons. Each is a module with `title` and `lesson(vaes)`, a promise of an
// element; a lesson is made when it is first shown.
import { button, element } from "../shared/elements.js";
import { showError } from "../parts/errors.js";
import { stylesheet } from "../parts/stylesheet.js";

const LESSONS = [
  ["Encoder and decoder", "networks"],
  ["Why a distribution", "distribution"],
  ["Swapping a VAE", "swap"],
  ["Why images blur", "blur"],
  ["Where diffusion happens", "diffusion"],
];

export async function mount(root, vaes) {
  await stylesheet("/page/learn.css");
  const place = element("div", { className: "lesson", tabIndex: -1 });
  const made = new Map();
  let current = 0;

  const steps = LESSONS.map(([title], number) => {
    const step = button("", `Lesson ${number + 1}: ${title}`, () => show(number));
    step.className = "chip step";
    step.replaceChildren(element("b", { textContent: number + 1 }), element("span", { textContent: title }));
    return element("li", {}, step);
  });
  const previous = button("\u2190 Previous", "Previous lesson", () => show(current - 1));
  const next = button("Next \u2192", "Next lesson", () => show(current + 1));
  next.className = "primary";

  async function show(number) {
    current = number;
    steps.forEach((step, i) => {
      if (i === number) step.firstChild.setAttribute("aria-current", "step");
      else step.firstChild.removeAttribute("aria-current");
    });
    previous.disabled = number === 0;
    next.disabled = number === LESSONS.length - 1;
    const [title, name] = LESSONS[number];
    if (!made.has(name)) made.set(name, import(`./learn/${name}.js`).then((module) => module.lesson(vaes)));
    try {
      const lesson = await made.get(name);
      if (current !== number) return;
      place.replaceChildren(element("h2", { textContent: `${number + 1}. ${title}` }), lesson);
      place.focus({ preventScroll: true });
      if (place.getBoundingClientRect().top < 0) place.scrollIntoView();
    } catch (error) {
      made.delete(name);
      showError(error);
    }
  }

  root.append(
    element("h1", { textContent: "Learn" }),
    element("p", { className: "lead", textContent: "What a VAE does, in five short lessons to play with." }),
    element("ol", { className: "steps" }, ...steps),
    place,
    element("div", { className: "tools turn" }, previous, next));
  show(0);
}
