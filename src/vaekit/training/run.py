"""A training run in a folder: the same call starts it, resumes it after any interruption, and finishes it.

RUN/recipe.json        what is trained and how: a call that would do something else is refused
RUN/log.jsonl          one line for each mean over some steps, and for each look at the held-out items
RUN/checkpoints/       the last states
RUN/vae.safetensors    the result; `--vae RUN` loads it
RUN/averages/          the other moving averages
RUN/board/             the same numbers for TensorBoard, where its writer is installed
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint, RecipeChanged, TrainingDiverged, TrainingStopped, printable
from vaekit.records import differences
from vaekit.run_folder import AVERAGES, CHECKPOINTS, RECIPE, RESULT
from vaekit.training.adversarial.rollback_guard import RollbackGuard
from vaekit.training.data import Stream
from vaekit.training.health import HealthMonitor, validate
from vaekit.training.latent_statistics import measure_normalizations
from vaekit.training.log import Log, LogEvent
from vaekit.training.loop import AdversaryHook, Schedule, Step, initial_train_state, train
from vaekit.training.objectives import Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe, table_of, upgraded
from vaekit.training.seeds import derive_seed, generator_for
from vaekit.training.state import State, Stateful, newest_checkpoint, save_state
from vaekit.vae import VAE

LOG_LINES, LOOKS = 400, 40
OLD_KINDS, OLD_COUNTS = {"pictures": "files"}, {"pictures": "items"}
"""What the first edition called kinds of data, and the number of their items."""
NORMALIZATION_ITEMS = 10_000
"""Items at most that the normalization is measured over."""
TRIAL_SECONDS, TRIAL_SHARE = 30.0, 0.1
"""How long a trial of the pace lasts: so long, or this share of the time that there is."""
TRIAL_FROM = 0.9
WARMING_STEPS = 10
EARLY = 0.1
"""Of a run, in which latents need not say anything yet."""
OTHER_SHARE = 0.08
"""Of the time, what looks, checkpoints and the end take."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is trained, where, on what."""

    recipe: Recipe
    folder: Path
    stream: Stream
    data: Mapping[str, Any]
    """The description of the data: with another data set, it is another run."""
    objective: Objective
    schedule: Schedule
    held_out: Tensor | None = None
    """Items that are never trained on, (b, ...)."""
    begin: Callable[[], VAE] | None = None
    """The VAE to begin with; None takes the recipe's, with new random weights. It keeps its normalization, known or
    not: diffusion models that see its latents were made for that one."""
    start: Callable[[VAE], None] | None = None
    """Sets new random weights to something better than chance."""
    frozen: Sequence[str] = ()
    """Modules of the VAE that are not trained, by name."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further entries for the metadata of the files with the result."""
    write: Callable[[VAE], object] | None = None
    """What writes the result; None writes the native layout."""
    opponent: AdversaryHook | None = None
    guard: RollbackGuard | None = None
    """Over reconstructions, while the opponent pulls."""
    extras: Mapping[str, Stateful] = field(default_factory=dict)
    """What else is kept with the state, such as the opponent and the guard."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    processes: ProcessGroup = ProcessGroup()  # noqa: RUF009 (a frozen value)
    workers: int = 0
    log_every: int = 0
    """Steps that a line of the log is a mean over; 0 for a four-hundredth of the run."""
    look_every: int = 0
    """Steps between two looks at the held-out items; 0 for a fortieth of the run."""
    save_seconds: float = 300.0
    """Between two checkpoints."""
    show: Callable[[VAE, Tensor, int], Mapping[str, Tensor]] | None = None
    """Makes images (3, h, w) in [-1, 1], by name, of the held-out items after so many samples."""

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {"recipe": dict(self.recipe.words), "seed": self.stream.seed, "data": dict(self.data)}


def run_training(
    run: Run,
    tell: Callable[[LogEvent], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    measuring: Callable[[int, int], None] = lambda *_: None,
) -> VAE:
    """Train to the end, from the last checkpoint if there is one, and return the result.

    Args:
        run: what to do.
        tell: called with progress reports.
        say: called with messages for the user.
        stop: called after every step; True saves the state and stops.
        measuring: called with the number of measured items and the total.

    Raises:
        RecipeChanged: the folder holds another run.
        TrainingStopped: `stop` returned True. The same call resumes the run.
        TrainingDiverged, BadRecipe: see there.
        CannotWrite: the disk is full, or the like. The last checkpoint is usable.
    """
    if run.processes.first:
        claim_folder(run)
    run.processes.wait()
    state = initial_state(run)
    found = newest_checkpoint(run.folder / CHECKPOINTS, say)
    if found is not None:
        try:
            state.restore(*found)
        except ValueError as error:
            raise BadCheckpoint(
                f"The checkpoints in {run.folder} belong to another model: {error}.", "", "Train into another folder."
            ) from error
        say(f"Resuming after {state.samples:,} samples.")
    with Log(run.folder, state.samples, tell) if run.processes.first else nullcontext() as log:
        watch = RunMonitor(run, log, say, stop)
        while state.samples < run.schedule.samples:
            try:
                train_until(run, state, run.schedule, watch.after)
            except TrainingDiverged as error:
                if run.guard is None or not run.guard.recover(state):
                    raise
                say(f"{error} So {run.guard.outcome()}")
    if run.processes.first:
        if run.begin is None:
            models = [average.model for average in state.averages] or [state.vae.eval()]
            size = run.schedule.micro_batch or run.schedule.batch_size
            measure_normalizations(
                models, run.stream, min(NORMALIZATION_ITEMS, len(run.stream.source)), size, say, stop, measuring
            )
        finish(run, state)
    return state.result


def initial_state(run: Run) -> State:
    """The state before the first step."""
    torch.manual_seed(derive_seed(run.stream.seed, "weights", 0))
    vae = (run.begin or run.recipe.vae)()
    if run.start is not None:
        run.start(vae)
    if run.opponent is not None:
        run.opponent.check(run.objective)
    state = initial_train_state(vae.to(run.device), run.schedule, run.frozen)
    state.extras = run.extras
    return state


def train_until(run: Run, state: State, schedule: Schedule, after: Callable[[Step], None]) -> None:
    """The loop, with what the run gives it."""
    train(
        state,
        run.stream,
        run.objective,
        schedule,
        opponent=run.opponent,
        processes=run.processes,
        workers=run.workers,
        after=after,
    )


def samples_for_duration(run: Run, seconds: float, say: Callable[[str], None]) -> int:
    """As many samples as are seen here in so many seconds: what the folder's run was begun with, or what a trial
    says, whose weights are thrown away. A learning rate that falls to zero needs to know the end from the start.

    Raises:
        RecipeChanged, BadRecipe: the folder holds something else.
    """
    begun = stored_identity(run.folder)
    if begun is not None:
        return Recipe(run.recipe.name, table_of(begun.get("recipe"))).schedule().samples
    times: list[float] = []
    trial = min(TRIAL_SECONDS, TRIAL_SHARE * seconds)
    state, batch = initial_state(run), run.schedule.batch_size
    # Of the last part of a run, in which all that it has takes part.
    state.samples = int(TRIAL_FROM * run.schedule.samples) // batch * batch

    def after(step: Step) -> None:
        times.append(step.seconds)
        over = step.seconds > trial and len(times) > 2 * WARMING_STEPS
        if run.processes.any_(over, run.device):
            raise TrialOver

    with suppress(TrialOver):
        train_until(run, state, run.schedule, after)
    pace = torch.tensor([seconds_per_step(times)], device=run.device)
    run.processes.sum_([pace])
    each = pace.item() / run.processes.count
    samples = max(1, int((1 - OTHER_SHARE) * seconds / each)) * batch
    say(f"{batch / each:,.0f} samples a second here: {samples:,} samples in {seconds / 60:.3g} minutes.")
    return samples


def seconds_per_step(times: list[float]) -> float:
    """From when each step of a trial was done; the first ones are slower, and are left out where there are more."""
    steps = times[WARMING_STEPS:] if len(times) > 2 * WARMING_STEPS else times
    return (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else times[-1]


class TrialOver(Exception):
    """Enough was seen to know the pace."""


def claim_folder(run: Run) -> None:
    """Make the folder this run's, or find that it is.

    Raises:
        RecipeChanged: it is another's.
    """
    before, now = stored_identity(run.folder), json.loads(json.dumps(run.identity()))
    if before is not None:
        changed = differences(before, now)
        if changed:
            raise RecipeChanged(
                f"{run.folder} holds a run that was started with another recipe: {'; '.join(changed[:8])}.",
                "A run can only be resumed with its original settings.",
                "Use the original recipe, data and seed, or another folder.",
            )
        return
    with atomic_file(run.folder / RECIPE) as part:
        part.write_text(json.dumps(now, indent=2, ensure_ascii=False) + "\n", "utf-8")


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """What the folder's run is, as it was written when it began; None where none did.

    Raises:
        RecipeChanged: a file of the name is there, and says nothing of the kind.
    """
    path = folder / RECIPE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        found = str(error)
    if not isinstance(found, dict):
        raise RecipeChanged(
            f"{path} does not describe a run: {printable(str(found), 100)}.",
            "Expected the file that vaekit writes at the start of a run.",
            "Give another folder.",
        )
    return upgraded_identity(found)


def upgraded_identity(found: dict[str, Any]) -> dict[str, Any]:
    """A stored identity as it is written today; the first edition had other names in it."""
    recipe, data = found.get("recipe"), found.get("data")
    if isinstance(recipe, Mapping):
        found = {**found, "recipe": upgraded(recipe)}
    if isinstance(data, Mapping):
        kind = OLD_KINDS.get(data.get("kind", ""), data.get("kind"))
        renamed = {OLD_COUNTS.get(name, name): value for name, value in data.items()}
        found = {**found, "data": {**renamed, **({"kind": kind} if "kind" in data else {})}}
    return found


class RunMonitor:
    """What happens after a step: numbers are gathered, held-out items looked at, the state is saved."""

    def __init__(self, run: Run, log: Log | None, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        self.run, self.log, self.say, self.stop = run, log, say, stop
        self.alarms = HealthMonitor()
        steps = run.schedule.samples // run.schedule.batch_size
        self.log_every = run.log_every or max(1, steps // LOG_LINES)
        self.look_every = run.look_every or max(1, steps // LOOKS)
        self.numbers: dict[str, list[float]] = {}
        """Since the last line of the log, step by step: a part may begin or end in between."""
        self.saved = time.monotonic()

    def after(self, step: Step) -> None:
        run, state = self.run, step.state
        self.note(step)
        verdict = run.guard.after(state, run.processes) if run.guard is not None else None
        if verdict is not None and self.log is not None:
            self.log.write(
                LogEvent(state.samples, step.seconds, verdict.numbers, held_out=True, total=run.schedule.samples)
            )
            if verdict.words:
                self.say(verdict.words)
        done = state.samples >= run.schedule.samples
        number = state.samples // run.schedule.batch_size
        if self.log is not None and (number % self.log_every == 0 or done):
            self.write(LogEvent(state.samples, step.seconds, self.means(), False, run.schedule.samples))
        if self.log is not None and run.held_out is not None and (number % self.look_every == 0 or done):
            self.show(state)
            self.write(LogEvent(state.samples, step.seconds, self.look(state), True, run.schedule.samples))
        stopping = run.processes.any_(self.stop(), run.device) and not done
        if run.processes.first and (done or stopping or time.monotonic() - self.saved > run.save_seconds):
            save_state(state, run.folder / CHECKPOINTS)
            self.saved = time.monotonic()
        if stopping:
            raise TrainingStopped(
                f"Stopped after {state.samples:,} of {run.schedule.samples:,} samples.",
                "",
                "The same command resumes the run.",
            )

    def look(self, state: State) -> dict[str, float | list[float]]:
        """How the result does on the held-out items."""
        run = self.run
        assert run.held_out is not None
        generator = generator_for(run.stream.seed, "held out", 0)
        size = run.schedule.micro_batch or run.schedule.batch_size
        return validate(state.result.eval(), run.held_out.to(run.device), run.objective, state.samples, size, generator)

    def show(self, state: State) -> None:
        """What the result makes of them, as images for the board."""
        run = self.run
        if run.show is not None and run.held_out is not None and self.log is not None:
            images = run.show(state.result.eval(), run.held_out.to(run.device), state.samples)
            for name, image in images.items():
                self.log.board.image(name, image, state.samples)

    def note(self, step: Step) -> None:
        """Keep the numbers of a step; of one that was passed over, that it was."""
        told = {**step.parts, "rate": step.rate, "gradient": step.gradient}
        if not math.isfinite(step.gradient):
            told = {"passed_over": 1.0}
        for name, value in told.items():
            self.numbers.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """Over the steps since the last line that had each number; of those passed over, how many."""
        passed = len(self.numbers.pop("passed_over", ()))
        found = {name: sum(values) / len(values) for name, values in self.numbers.items()}
        self.numbers = {}
        return found | ({"passed_over": float(passed)} if passed else {})

    def write(self, news: LogEvent) -> None:
        """Put it into the log, and say what it means where it means trouble."""
        assert self.log is not None
        self.log.write(news)
        for words in self.alarms.hear(news.numbers, news.held_out, self.warm(news.samples)):
            self.say(f"After {news.samples:,} samples: {words}")

    def warm(self, samples: int) -> bool:
        """Whether so much was seen that the latents ought to say something."""
        schedule = self.run.schedule
        started = samples > max(2 * schedule.warmup_samples, EARLY * schedule.samples)
        return started and self.run.objective.settled(samples)


def finish(run: Run, state: State) -> None:
    """Write the results."""
    for average in state.averages[1:]:
        save(average.model, run.folder / AVERAGES / f"{average.decay}.safetensors", notes=run.notes)
    if run.write is not None:
        run.write(state.result.eval())
    else:
        save(state.result, run.folder / RESULT, notes=run.notes)
