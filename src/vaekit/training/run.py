"""One run in one folder: begun, gone on with after any stop, and finished, by the same call.

RUN/recipe.json        what is trained and how: a call that would do something else is refused
RUN/log.jsonl          one line for each mean over some steps, and for each look at the held-out items
RUN/checkpoints/       the last states
RUN/vae.safetensors    the result; `--vae RUN` loads it
RUN/averages/          the other moving averages
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.checkpoints.saving import save
from vaekit.errors import BadCheckpoint, RecipeChanged, TrainingDiverged
from vaekit.training.data import Stream
from vaekit.training.frame import measured_frame
from vaekit.training.guard import Guard
from vaekit.training.loop import Opponent, Schedule, Step, fresh, train
from vaekit.training.objectives import Objective
from vaekit.training.processes import Processes
from vaekit.training.recipe import Recipe
from vaekit.training.saving import newest, save_state
from vaekit.training.seeds import derived, generator_for
from vaekit.training.state import Keeps, State
from vaekit.vae import VAE
from vaekit.whole_files import whole_file
from vaekit.words import differences

RECIPE, LOG, CHECKPOINTS, RESULT, AVERAGES = "recipe.json", "log.jsonl", "checkpoints", "vae.safetensors", "averages"
FRAME_ITEMS = 10_000
"""Items at most that the frame is measured over."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is trained, where, on what."""

    recipe: Recipe
    folder: Path
    stream: Stream
    data: Mapping[str, Any]
    """What the data are, in words: another data set is another run."""
    objective: Objective
    schedule: Schedule
    held_out: Tensor | None = None
    """Items that are never trained on, (b, ...)."""
    begin: Callable[[], VAE] | None = None
    """The VAE to begin with; None takes the recipe's, with new random weights."""
    opponent: Opponent | None = None
    guard: Guard | None = None
    """Over reconstructions, while the opponent pulls."""
    extras: Mapping[str, Keeps] = field(default_factory=dict)
    """What else is kept with the state, such as the opponent and the guard."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    autocast: torch.dtype | None = None
    processes: Processes = Processes()  # noqa: RUF009 (a frozen value)
    workers: int = 0
    log_every: int = 100
    """Steps that a line of the log is a mean over."""
    look_every: int = 1000
    """Steps between two looks at the held-out items."""
    save_seconds: float = 300.0
    """Between two checkpoints."""

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {"recipe": dict(self.recipe.words), "seed": self.stream.seed, "data": dict(self.data)}


@dataclass(frozen=True)
class News:
    """What is told while a run goes on."""

    samples: int
    seconds: float
    """Since this call began."""
    numbers: Mapping[str, float]
    """Means since the last news: parts of the loss, `rate`, `gradient`; or of the held-out items."""
    held_out: bool


def carry_out(
    run: Run, tell: Callable[[News], None] = lambda _: None, say: Callable[[str], None] = lambda _: None
) -> VAE:
    """Train to the end, from the last checkpoint where there is one, and return the result.

    Args:
        run: what to do.
        tell: told how it goes.
        say: told what a person should know.

    Raises:
        RecipeChanged: the folder holds another run.
        TrainingDiverged, BadRecipe: see there.
        CannotWrite: the disk is full, or the like. The last checkpoint is usable.
    """
    if run.processes.first:
        claim(run)
    run.processes.wait()
    torch.manual_seed(derived(run.stream.seed, "weights", 0))
    vae = (run.begin or run.recipe.vae)().to(run.device)
    state = fresh(vae, run.schedule)
    state.extras = run.extras
    found = newest(run.folder / CHECKPOINTS, say)
    if found is not None:
        try:
            state.restore(*found)
        except ValueError as error:
            raise BadCheckpoint(
                f"The checkpoints in {run.folder} are of another model: {error}.", "", "Train into another folder."
            ) from error
        say(f"Going on after {state.samples:,} samples.")
    with Log(run, state.samples, tell) if run.processes.first else nullcontext() as log:
        watch = Watch(run, log, say)
        while True:
            try:
                train(
                    state,
                    run.stream,
                    run.objective,
                    run.schedule,
                    opponent=run.opponent,
                    autocast=run.autocast,
                    processes=run.processes,
                    workers=run.workers,
                    after=watch.after,
                )
                break
            except TrainingDiverged as error:
                if run.guard is None or not run.guard.recover(state):
                    raise
                say(f"{error} So {run.guard.outcome()}")
    if run.processes.first:
        finish(run, state)
    return state.result


def claim(run: Run) -> None:
    """Make the folder this run's, or find that it is.

    Raises:
        RecipeChanged: it is another's.
    """
    path, now = run.folder / RECIPE, json.loads(json.dumps(run.identity()))
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        changed = differences(before, now)
        if changed:
            raise RecipeChanged(
                f"{run.folder} holds a run that was begun with another recipe: {'; '.join(changed[:8])}.",
                "A run goes on as it began.",
                "Give the recipe, data and seed that it began with, or another folder.",
            )
        return
    with whole_file(path) as part:
        part.write_text(json.dumps(now, indent=2, ensure_ascii=False) + "\n", "utf-8")


class Log:
    """The file with all numbers. Lines behind the state that a run goes on from are written again."""

    def __init__(self, run: Run, samples: int, tell: Callable[[News], None]) -> None:
        self.path = run.folder / LOG
        self.tell = tell
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if told_before(line, samples)]
        with whole_file(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, news: News) -> None:
        kind = {"held_out": True} if news.held_out else {}
        numbers = {name: float(f"{value:.7g}") for name, value in news.numbers.items()}
        line = {"samples": news.samples, "seconds": round(news.seconds, 1), **kind, **numbers}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        self.tell(news)


def told_before(line: str, samples: int) -> bool:
    """Whether a line of a log is about no more than so many samples; a line cut short by a crash is not."""
    try:
        return int(json.loads(line)["samples"]) <= samples
    except (ValueError, KeyError, TypeError):
        return False


class Watch:
    """What happens after a step: numbers are gathered, held-out items looked at, the state is saved."""

    def __init__(self, run: Run, log: Log | None, say: Callable[[str], None]) -> None:
        self.run, self.log, self.say = run, log, say
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.saved = time.monotonic()

    def after(self, step: Step) -> None:
        run, state = self.run, step.state
        for name, value in (*step.parts.items(), ("rate", step.rate), ("gradient", step.gradient)):
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1
        verdict = run.guard.after(state, run.processes) if run.guard is not None else None
        if verdict is not None and self.log is not None:
            self.log.write(News(state.samples, step.seconds, verdict.numbers, held_out=True))
            if verdict.words:
                self.say(verdict.words)
        done = state.samples >= run.schedule.samples
        number = state.samples // run.schedule.batch_size
        if self.log is not None and (number % run.log_every == 0 or done):
            means = {name: value / self.steps for name, value in self.sums.items()}
            self.sums, self.steps = {}, 0
            self.log.write(News(state.samples, step.seconds, means, held_out=False))
        if self.log is not None and run.held_out is not None and (number % run.look_every == 0 or done):
            self.log.write(News(state.samples, step.seconds, self.look(state), held_out=True))
        if run.processes.first and (done or time.monotonic() - self.saved > run.save_seconds):
            save_state(state, run.folder / CHECKPOINTS)
            self.saved = time.monotonic()

    @torch.no_grad()
    def look(self, state: State) -> dict[str, float]:
        """The parts of the objective on the held-out items."""
        assert self.run.held_out is not None
        x = self.run.held_out.to(self.run.device)
        generator = generator_for(self.run.stream.seed, "held out", 0)
        losses = self.run.objective(state.result, x, state.samples, generator)
        return {name: part.item() for name, part in losses.parts.items()}


def finish(run: Run, state: State) -> None:
    """Measure the frame, and write the results."""
    items = min(FRAME_ITEMS, len(run.stream.source))
    batch = run.schedule.micro_batch or run.schedule.batch_size
    for i, average in enumerate(state.averages):
        average.model.frame = measured_frame(average.model, run.stream, items, batch)
        if i:
            save(average.model, run.folder / AVERAGES / f"{average.decay}.safetensors")
    if not state.averages:
        state.vae.frame = measured_frame(state.vae.eval(), run.stream, items, batch)
    save(state.result, run.folder / RESULT)
