"""A training run in a folder: the same call starts it, resumes it after an interruption, and finishes it.

RUN/recipe.json        recipe, seed and description of the data: a call with other ones is rejected
RUN/log.jsonl          training means over some steps, and validation of the held-out items, one line each
RUN/checkpoints/       the last checkpoints
RUN/vae.safetensors    the result; `--vae RUN` loads it
RUN/averages/          the other moving averages
RUN/board/             the same values for TensorBoard, if its writer is installed
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor

from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint, TrainingDiverged, TrainingStopped, counted
from vaekit.run_folder import AVERAGES, CHECKPOINTS, RESULT
from vaekit.training.adversarial.rollback_guard import RollbackGuard
from vaekit.training.data import Batch, Stream
from vaekit.training.health import HealthMonitor, validate
from vaekit.training.latent_statistics import measure_normalizations
from vaekit.training.log import Log, LogEvent
from vaekit.training.loop import AdversaryHook, Step, initial_train_state, train
from vaekit.training.objectives import Loss, Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe, table_or_empty
from vaekit.training.run_identity import claim_folder, stored_identity
from vaekit.training.schedule import Schedule
from vaekit.training.seeds import derive_seed, generator_for
from vaekit.training.state import Model, State, Stateful, newest_checkpoint, save_state

LOG_LINES, VALIDATIONS = 400, 40
"""The default number of training lines in the log, and of validations."""
NORMALIZATION_ITEMS = 10_000
"""The maximum number of items for measuring the normalization."""
TRIAL_SECONDS, TRIAL_SHARE = 30.0, 0.1
"""The duration of a timing trial: this time, or this share of the available time if that is shorter."""
TRIAL_FROM = 0.9
"""The position in the run, as a share, whose steps a trial measures: adversarial parts are active there."""
WARMUP_STEPS = 10
"""Steps of a trial that are not measured, as they are slower."""
EARLY = 0.1
"""The share of a run during which uninformative latents are not reported."""
OTHER_SHARE = 0.08
"""The share of the time that validation, checkpoints and the end of a run take."""


@dataclass(frozen=True, eq=False)
class Run(Generic[Model, Batch]):
    """Everything that a training run consists of: of a VAE, with batches of tensors, or of another model.

    Picklable, so that it can be sent to other processes: data in files and base models are pickled as paths and
    digests, and opened again there. Relative paths stay relative.
    """

    recipe: Recipe
    folder: Path
    stream: Stream[Batch]
    data: Mapping[str, Any]
    """A description of the data, part of the identity of the run."""
    objective: Loss
    schedule: Schedule
    held_out: Batch | None = None
    """Items for validation that are not trained on, (b, ...)."""
    begin: Callable[[], Model] | None = None
    """Returns the initial model; None for the recipe's VAE with random weights. A VAE keeps its normalization, known or
    not: diffusion models on its latents depend on it."""
    start: Callable[[Model], None] | None = None
    """Initializes random weights, in place."""
    frozen: Sequence[str] = ()
    """Names of the model's modules that are not trained."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Additional metadata entries of the result."""
    write: Callable[[Model], object] | None = None
    """Writes the result; None for a VAE's file in the native layout."""
    save: Callable[..., None] = save
    """(model, path, notes=...) -> None: writes an average of the weights, and the result unless `write` does."""
    validate: Callable[..., Mapping[str, float | list[float]]] = validate
    """Measures the held-out items; see `vaekit.training.health.validate`."""
    adversary: AdversaryHook | None = None
    guard: RollbackGuard | None = None
    """Watches the reconstructions of an adversarial run."""
    extras: Mapping[str, Stateful] = field(default_factory=dict)
    """Further parts whose state is saved in checkpoints, such as the adversary and the guard."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    processes: ProcessGroup = ProcessGroup()  # noqa: RUF009 (a frozen value)
    workers: int = 0
    """Threads that load data."""
    log_every: int = 0
    """Steps per training line of the log; 0 for 1/400 of the run."""
    validate_every: int = 0
    """Steps between two validations; 0 for 1/40 of the run."""
    save_seconds: float = 300.0
    """Seconds between two checkpoints."""
    show: Callable[[Model, Batch, int], Mapping[str, Tensor]] | None = None
    """(VAE, held-out items, samples so far) -> images (3, h, w) in [-1, 1] by name, for TensorBoard."""

    def identity(self) -> dict[str, Any]:
        """The values that must be equal for a run to be resumed."""
        return {"recipe": dict(self.recipe.table), "seed": self.stream.seed, "data": dict(self.data)}


def run_training(
    run: Run[Model, Batch],
    tell: Callable[[LogEvent], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    measuring: Callable[[int, int], None] = lambda *_: None,
) -> Model:
    """Train to the end, from the last checkpoint if there is one, and return the result.

    Args:
        run: the run.
        tell: called with progress reports.
        say: called with messages for the user.
        stop: called after every step; True saves the state and stops.
        measuring: called with the number of measured items and the total.

    Raises:
        RecipeChanged: the folder holds another run.
        TrainingStopped: `stop` returned True. The same call resumes the run.
        TrainingDiverged, BadRecipe: see `train`.
        BadCheckpoint: all checkpoints are damaged, or belong to another model.
        CannotWrite: e.g. the disk is full. The last checkpoint is usable.
    """
    if run.processes.first:
        claim_folder(run.folder, run.identity())
    run.processes.wait()
    state: State[Any] = initial_state(run)
    checkpoint = newest_checkpoint(run.folder / CHECKPOINTS, say)
    if checkpoint is not None:
        try:
            state.restore(*checkpoint)
        except ValueError as error:
            raise BadCheckpoint(
                f"The checkpoints in {run.folder} belong to another model: {error}.", "", "Train into another folder."
            ) from error
        complete = state.samples >= run.schedule.samples
        say(f"{'Training is already complete' if complete else 'Resuming'} after {counted(state.samples, 'sample')}.")
    with Log(run.folder, state.samples, tell, say) if run.processes.first else nullcontext() as log:
        monitor = RunMonitor(run, log, say, stop)
        while state.samples < run.schedule.samples:
            try:
                train_until(run, state, run.schedule, monitor.after)
            except TrainingDiverged as error:
                if run.guard is None or not run.guard.recover(state):
                    raise
                say(f"{error} Rolled back: {run.guard.outcome()}")
    if run.processes.first:
        measure_results(run, state, say, stop, measuring)
        finish(run, state)
    return state.result


def train_in_memory(run: Run[Model, Batch]) -> Model:
    """Train to the end, and return the result in evaluation mode: without files, log, validation and checkpoints. The
    folder of the run is not used.

    Raises:
        TrainingDiverged, BadRecipe: see `train`.
    """
    state = initial_state(run)
    train_until(run, state, run.schedule)
    measure_results(run, state)
    return state.result.eval()


def measure_results(
    run: Run[Any, Any],
    state: State[Any],
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    measuring: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Set the normalization of the result and of the other averages, unless the initial VAE determines it.

    Raises:
        TrainingStopped: `stop` returned True.
    """
    if run.begin is not None:
        return
    models = [average.model for average in state.averages] or [state.vae.eval()]
    size = run.schedule.micro_batch or run.schedule.batch_size
    items = min(NORMALIZATION_ITEMS, len(run.stream.source))
    measure_normalizations(models, run.stream, items, size, say, stop, measuring)


def initial_state(run: Run[Model, Any]) -> State[Model]:
    """The state before the first step."""
    torch.manual_seed(derive_seed(run.stream.seed, "weights", 0))
    begin: Callable[[], Any] = run.begin or run.recipe.vae
    model: Model = begin()
    if run.start is not None:
        run.start(model)
    if run.adversary is not None:
        assert isinstance(run.objective, Objective)
        run.adversary.check(run.objective)
    state = initial_train_state(model.to(run.device), run.schedule, run.frozen)
    state.extras = run.extras
    return state


def train_until(
    run: Run[Any, Any], state: State[Any], schedule: Schedule, after: Callable[[Step], None] | None = None
) -> None:
    """Train a state by a schedule, with the data, objective and adversary of a run."""
    train(
        state,
        run.stream,
        run.objective,
        schedule,
        adversary=run.adversary,
        processes=run.processes,
        workers=run.workers,
        after=after,
    )


def samples_for_duration(run: Run[Any, Any], seconds: float, say: Callable[[str], None]) -> int:
    """The number of samples for training in `seconds` seconds: that of the run in the folder, if there is one, or that
    of a timing trial, whose weights are discarded. Learning rate schedules need the number before training starts.

    Raises:
        RecipeChanged, BadRecipe: the folder holds something else.
    """
    existing = stored_identity(run.folder)
    if existing is not None:
        return Recipe(run.recipe.name, table_or_empty(existing.get("recipe"))).schedule().samples
    times: list[float] = []
    trial = min(TRIAL_SECONDS, TRIAL_SHARE * seconds)
    state, batch = initial_state(run), run.schedule.batch_size
    # Near the end of a run, all its parts are active.
    state.samples = int(TRIAL_FROM * run.schedule.samples) // batch * batch

    def after(step: Step) -> None:
        times.append(step.seconds)
        over = step.seconds > trial and len(times) > 2 * WARMUP_STEPS
        if run.processes.any_(over, run.device):
            raise TrialOver

    with suppress(TrialOver):
        train_until(run, state, run.schedule, after)
    pace = torch.tensor([seconds_per_step(times)], device=run.device)
    run.processes.sum_([pace])
    each = pace.item() / run.processes.count
    samples = max(1, int((1 - OTHER_SHARE) * seconds / each)) * batch
    say(f"{batch / each:,.0f} samples a second here: {counted(samples, 'sample')} in {seconds / 60:.3g} minutes.")
    return samples


def seconds_per_step(times: list[float]) -> float:
    """The mean duration of a step, from the end times of steps; the first steps are excluded if there are enough."""
    steps = times[WARMUP_STEPS:] if len(times) > 2 * WARMUP_STEPS else times
    return (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else times[-1]


class TrialOver(Exception):
    """Ends a timing trial."""


class RunMonitor:
    """Runs after every step: logs, validates, saves checkpoints, and stops."""

    def __init__(
        self, run: Run[Any, Any], log: Log | None, say: Callable[[str], None], stop: Callable[[], bool]
    ) -> None:
        self.run, self.log, self.say, self.stop = run, log, say, stop
        self.health = HealthMonitor()
        steps = run.schedule.samples // run.schedule.batch_size
        self.log_every = run.log_every or max(1, steps // LOG_LINES)
        self.validate_every = run.validate_every or max(1, steps // VALIDATIONS)
        self.values: dict[str, list[float]] = {}
        """The values of the steps since the last line of the log; a term may start or end in between."""
        self.saved_at = time.monotonic()

    def after(self, step: Step) -> None:
        run, state = self.run, step.state
        self.collect(step)
        verdict = run.guard.after(state, run.processes) if run.guard is not None else None
        if verdict is not None and self.log is not None:
            self.log.write(
                LogEvent(state.samples, step.seconds, verdict.numbers, held_out=True, total=run.schedule.samples)
            )
            if verdict.message:
                self.say(verdict.message)
        done = state.samples >= run.schedule.samples
        number = state.samples // run.schedule.batch_size
        if self.log is not None and (number % self.log_every == 0 or done):
            self.write(LogEvent(state.samples, step.seconds, self.means(), False, run.schedule.samples))
        if self.log is not None and run.held_out is not None and (number % self.validate_every == 0 or done):
            self.show(state)
            self.write(LogEvent(state.samples, step.seconds, self.validate(state), True, run.schedule.samples))
        stopping = run.processes.any_(self.stop(), run.device) and not done
        if run.processes.first and (done or stopping or time.monotonic() - self.saved_at > run.save_seconds):
            save_state(state, run.folder / CHECKPOINTS)
            self.saved_at = time.monotonic()
        if stopping:
            raise TrainingStopped(
                f"Stopped after {state.samples:,} of {counted(run.schedule.samples, 'sample')}.",
                "",
                "The same command resumes the run.",
            )

    def validate(self, state: State[Any]) -> Mapping[str, float | list[float]]:
        """The losses of the held-out items, and the health of their latents."""
        run = self.run
        assert run.held_out is not None
        generator = generator_for(run.stream.seed, "held out", 0)
        size = run.schedule.micro_batch or run.schedule.batch_size
        return run.validate(
            state.result.eval(), run.held_out.to(run.device), run.objective, state.samples, size, generator
        )

    def show(self, state: State[Any]) -> None:
        """Write images of the held-out items for TensorBoard."""
        run = self.run
        if run.show is not None and run.held_out is not None and self.log is not None:
            images = run.show(state.result.eval(), run.held_out.to(run.device), state.samples)
            for name, image in images.items():
                self.log.board.image(name, image, state.samples)

    def collect(self, step: Step) -> None:
        """Keep the values of a step; of a skipped step, only that it was skipped."""
        values = {**step.parts, "rate": step.rate, "gradient": step.gradient}
        if not math.isfinite(step.gradient):
            values = {"passed_over": 1.0}
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """The mean of each value over the steps since the last line that have it, and the number of skipped steps."""
        skipped = len(self.values.pop("passed_over", ()))
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        self.values = {}
        return means | ({"passed_over": float(skipped)} if skipped else {})

    def write(self, event: LogEvent) -> None:
        """Write a line of the log, and warn of problems that it shows."""
        assert self.log is not None
        self.log.write(event)
        for warning in self.health.check(event.numbers, event.held_out, self.warmed_up(event.samples)):
            self.say(f"After {counted(event.samples, 'sample')}: {warning}")

    def warmed_up(self, samples: int) -> bool:
        """Whether the latents are expected to be informative."""
        schedule = self.run.schedule
        started = samples > max(2 * schedule.warmup_samples, EARLY * schedule.samples)
        return started and self.run.objective.has_final_weights(samples)


def finish(run: Run[Any, Any], state: State[Any]) -> None:
    """Write the result, and the other averages."""
    for average in state.averages[1:]:
        run.save(average.model, run.folder / AVERAGES / f"{average.decay}.safetensors", notes=run.notes)
    if run.write is not None:
        run.write(state.result.eval())
    else:
        run.save(state.result, run.folder / RESULT, notes=run.notes)
