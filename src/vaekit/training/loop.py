"""The training loop. Progress is counted in samples, not in epochs."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vaekit.errors import BadRecipe, TrainingDiverged, counted
from vaekit.training.code_stats import code_heads, code_statistics
from vaekit.training.data import Batch, Stream, ahead
from vaekit.training.ema_heads import UpdatesWithoutGradient, heads_without_gradient
from vaekit.training.objectives import Loss, Losses, Objective, StepLosses
from vaekit.training.processes import ProcessGroup
from vaekit.training.recompute import nets_of, recompute_activations
from vaekit.training.schedule import PRECISIONS, Schedule
from vaekit.training.seeds import derive_seed, generator_for
from vaekit.training.state import EMA, Model, State, modules_of
from vaekit.vae import VAE

PATIENCE = 10
"""Consecutive steps with non-finite gradients after which a run ends: one is a rare batch, this many are divergence."""


@runtime_checkable
class AdversaryHook(Protocol):
    """A second network, trained to distinguish reconstructions from data, against which the VAE is trained."""

    def check(self, objective: Objective) -> None:
        """Reject an incompatible objective."""

    def generator_loss(self, losses: Losses, vae: VAE, samples: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to add to the total, and values to log."""

    def collect(self, losses: Losses, share: float, samples: int) -> dict[str, Tensor]:
        """Accumulate the network's own gradients for a micro-batch with this share of a step; returns values to log."""

    def step(self, processes: ProcessGroup, samples: int) -> None:
        """Take an optimizer step with the accumulated gradients."""

    def forget(self) -> None:
        """Discard the accumulated gradients: the step is skipped."""


@dataclass(frozen=True)
class Step:
    """The report of one step."""

    state: State[Any]
    losses: StepLosses
    """The losses of the last micro-batch."""
    parts: dict[str, float]
    """The loss terms of the whole step, in this process."""
    rate: float
    gradient: float
    """The gradient norm before clipping. If it is non-finite, the step was skipped."""
    seconds: float
    """Since this call of the loop began."""


def optimizer_for(module: nn.Module, schedule: Schedule) -> AdamW:
    """AdamW over the trainable parameters."""
    trained = [each for each in module.parameters() if each.requires_grad]
    return AdamW(
        trained, lr=schedule.learning_rate, betas=schedule.betas, weight_decay=schedule.weight_decay, fused=True
    )


def initial_train_state(model: Model, schedule: Schedule, frozen: Sequence[str] = ()) -> State[Model]:
    """The state before the first step, with modules frozen by name."""
    for part in modules_of(model, frozen):
        part.requires_grad_(False)
    averages = [EMA(model, decay) for decay in schedule.averages]
    return State(model, optimizer_for(model, schedule), averages, frozen=frozen)


def train(
    state: State[Any],
    stream: Stream[Any],
    objective: Loss,
    schedule: Schedule,
    *,
    adversary: AdversaryHook | None = None,
    processes: ProcessGroup = ProcessGroup(),  # noqa: B008 (a frozen value)
    workers: int = 0,
    after: Callable[[Step], None] | None = None,
) -> None:
    """Train from `state` to the end of the schedule.

    Steps with non-finite gradients are skipped: the data position advances, the weights do not change.

    Interrupted and resumed training gives the same weights as uninterrupted training: bit for bit
    on a CPU with one number of threads.

    Args:
        state: changed in place.
        stream: the data; its seed is that of all randomness.
        objective: what to minimize.
        schedule: lengths and rates.
        adversary: the adversary of an adversarial run.
        processes: the processes that train together.
        workers: threads that load batches ahead of time; 0 for data in memory.
        after: called after every step.

    Raises:
        TrainingDiverged: `PATIENCE` consecutive gradients are non-finite. The weights are those before them.
        BadRecipe: the batch size is not divisible by micro-batches and processes, a term needs larger micro-batches,
            or a term or the schedule is incompatible with this model.
    """
    model, device = state.model, next(state.model.parameters()).device
    if schedule.encoder_steps > 1 and not isinstance(model, VAE):
        raise no_encoder(schedule.encoder_steps)
    micro_batches = schedule.micro_batches(processes)
    size = schedule.batch_size // (micro_batches * processes.count)
    if size < objective.min_items:
        raise too_few(size, objective.min_items)
    positions = (
        start + (micro_batch * processes.count + processes.rank) * size
        for start in count(state.samples, schedule.batch_size)
        for micro_batch in range(micro_batches)
    )
    state.to_training()
    trained = [each for each in model.parameters() if each.requires_grad]
    heads, coded = trained_heads(model), code_heads(model)
    share = 1 / (micro_batches * processes.count)
    started = time.monotonic()
    if schedule.compiled:
        compile_nets(model)
    recomputing = recompute_activations(model) if schedule.recompute else nullcontext()
    with recomputing, closing(batches_at(positions, stream, size, workers)) as batches:
        while state.samples < schedule.samples:
            rate = schedule.rate_at(state.samples)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            parts: dict[str, Tensor] = {}
            for _ in range(micro_batches):
                position, x = next(batches)
                seed_layers(device, derive_seed(stream.seed, "layers", position))
                with in_precision(device, schedule.precision):
                    generator = generator_for(stream.seed, "noise", position)
                    losses = objective(model, x.to(device), state.samples, generator)
                values, total = dict(losses.parts), losses.total
                if adversary is not None:
                    assert isinstance(losses, Losses)
                    loss, logged = adversary.generator_loss(losses, model, state.samples)
                    total, values = total + loss, values | logged
                if not total.requires_grad:
                    raise untrained(state.samples, values)
                (share * total).backward()
                if adversary is not None:
                    assert isinstance(losses, Losses)
                    values |= adversary.collect(losses, share, state.samples)
                for name, value in values.items():
                    parts[name] = parts.get(name, 0) + value / micro_batches
            processes.sum_gradients(model)
            if schedule.is_for_encoder(state.samples):
                keep_gradients_of_encoder(model)
            norm = clipped(trained, schedule.gradient_clip)
            means = {name: part.item() for name, part in parts.items()}
            if torch.isfinite(norm):
                state.optimizer.step()
                if adversary is not None:
                    adversary.step(processes, state.samples)
                for name, head in heads.items():
                    head.adapt(processes.sum_, generator_for(stream.seed, f"adapting {name}", state.samples))
                for average in state.averages:
                    average.update(model, state.samples // schedule.batch_size)
                state.passed_over = 0
            else:
                skip_step(state, means, [*heads.values(), *([adversary] if adversary is not None else [])])
            state.optimizer.zero_grad(set_to_none=True)
            means |= code_statistics(coded)
            state.samples += schedule.batch_size
            if after is not None:
                after(Step(state, losses, means, rate, norm.item(), time.monotonic() - started))
                state.to_training()


def skip_step(
    state: State[Any], parts: dict[str, float], collectors: Iterable[UpdatesWithoutGradient | AdversaryHook]
) -> None:
    """Skip a step with a non-finite gradient.

    Raises:
        TrainingDiverged: the limit of consecutive skipped steps was reached.
    """
    state.passed_over += 1
    for each in collectors:
        each.forget()
    if state.passed_over >= PATIENCE:
        raise diverged(state.samples, parts)


def compile_nets(model: nn.Module) -> None:
    """Compile the nets of a model in place; the names of weights do not change, and earlier copies are unaffected."""
    for net in nets_of(model):
        net.compile()


def trained_heads(model: nn.Module) -> dict[str, UpdatesWithoutGradient]:
    """The modules that learn without gradients, except for frozen ones, by name."""
    modules = dict(model.named_modules())
    return {name: head for name, head in heads_without_gradient(model).items() if modules[name].training}


def batches_at(
    positions: Iterator[int], stream: Stream[Batch], size: int, workers: int
) -> Generator[tuple[int, Batch], None, None]:
    """Each position with the micro-batch at it."""
    requested: list[int] = []

    def recorded() -> Iterator[int]:
        for position in positions:
            requested.append(position)
            yield position

    with closing(ahead(stream, recorded(), size, workers)) as batches:
        for batch in batches:
            yield requested.pop(0), batch


def keep_gradients_of_encoder(vae: VAE) -> None:
    """Discard the gradients of all parameters but those of the encoder: the optimizer leaves them as they are."""
    encoder = set() if vae.encoder is None else {id(each) for each in vae.encoder.parameters()}
    for each in vae.parameters():
        if id(each) not in encoder:
            each.grad = None


def clipped(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """Clip the norm of all gradients together to `max_norm`, and return the norm before. Without a limit the gradients
    are not multiplied by 1: that would take a tenth of a small net's step."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if math.isfinite(max_norm):
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed torch's global generator, which layers such as dropout use. `torch.manual_seed` also queues a call, with a
    stack trace, for every device type that is not initialized."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def in_precision(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which networks run in this precision."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def too_few(size: int, minimum: int) -> BadRecipe:
    """The error for batches that are too small for a term, or for a share of their items."""
    return BadRecipe(
        f"The micro-batch has {size} items, but a term of this objective, or its trim, needs at least {minimum}.",
        "",
        "Increase schedule.batch_size or schedule.micro_batch.",
    )


def no_encoder(steps: int) -> BadRecipe:
    """The error for steps of the encoder of a model that has none."""
    return BadRecipe(
        f"The schedule has encoder_steps = {steps}.",
        "Only a VAE has an encoder that is trained by itself.",
        "Leave out schedule.encoder_steps.",
    )


def untrained(samples: int, parts: Mapping[str, Tensor]) -> BadRecipe:
    """The error for a loss that does not depend on any trainable parameter."""
    return BadRecipe(
        f"After {counted(samples, 'sample')} the loss does not depend on any trainable parameter.",
        f"Its terms are: {', '.join(parts) or 'none'}.",
        "Give a term that depends on the trained modules a non-zero weight at this point.",
    )


def diverged(samples: int, parts: dict[str, float]) -> TrainingDiverged:
    """The error for a non-finite loss."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in parts.items())
    return TrainingDiverged(
        f"The loss or its gradient was non-finite {PATIENCE} times in a row, until {counted(samples, 'sample')} "
        f"({values}).",
        "These steps did not change the weights.",
        "Lower the learning rate or the weight of the growing term, or increase warmup_samples, and start a new run.",
    )
