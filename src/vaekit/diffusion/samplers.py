"""Samplers: follow a flow from noise to data in few steps.

Paths of a rectified flow are nearly straight, so a few steps of a simple method suffice: Euler's (order 1), or Heun's
(order 2, two evaluations per step; Karras et al. 2022, arXiv 2206.00364, section 3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vaekit.diffusion.flow import on_path, shifted

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(points (b, ...), times (b,)) -> velocities (b, ...)."""
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled."""

    steps: int = 20
    sampler: str = "heun"
    """"euler" or "heun"."""
    guidance: float = 1.0
    """The scale of classifier-free guidance; 1 is none, 0 ignores the condition."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps is {self.steps}; expected 1 to {MOST_STEPS:,}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler is {self.sampler!r}; expected {' or '.join(SAMPLERS)}")
        if not 0 <= self.guidance < 1000:
            raise ValueError(f"guidance is {self.guidance:g}; expected 0 to 1000")


def time_grid(steps: int, shift: float = 1.0, first: int = 0) -> Tensor:
    """The times between steps, from noise (1) to data (0), shifted.

    >>> time_grid(4).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    >>> time_grid(4, first=2).tolist()
    [0.5, 0.25, 0.0]

    Args:
        steps: the number of steps from 1 to 0.
        shift: see `time_shift`.
        first: the number of steps that are left out at the start.
    """
    return shifted(torch.linspace(1, 0, steps + 1)[first:], shift)


def euler_step(velocity: Velocity, x: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """One step of Euler's method between two times, ()."""
    return x + (then - now) * velocity(x, now.expand(len(x)))


def heun_step(velocity: Velocity, x: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """One step of Heun's method: the mean of the velocities at both ends. The last step is Euler's, as nets are hardly
    trained at t = 0; the order stays 2 (arXiv 2206.00364, algorithm 1)."""
    start = velocity(x, now.expand(len(x)))
    if then == 0:
        return x + (then - now) * start
    end = velocity(x + (then - now) * start, then.expand(len(x)))
    return x + (then - now) * (start + end) / 2


SAMPLERS: Mapping[str, Callable[[Velocity, Tensor, Tensor, Tensor], Tensor]] = {"euler": euler_step, "heun": heun_step}


def follow(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    sampler: str = "heun",
    after: Callable[[Tensor, int], None] = lambda *_: None,
) -> Tensor:
    """Follow a flow through these times, (steps + 1,).

    Args:
        velocity: of the flow.
        x: the points at the first time, (b, ...).
        times: from noise to data.
        sampler: of `SAMPLERS`.
        after: called after every step with an estimate of the data, and the number of steps so far.
    """
    step = SAMPLERS[sampler]
    times = times.to(x.device)
    for number, (now, then) in enumerate(pairwise(times), start=1):
        before, x = x, step(velocity, x, now, then)
        # The straight line through both points leads to an estimate of the data at t = 0.
        after(x + (x - before) / (then - now) * -then, number)
    return x


def start_of(strength: float, steps: int) -> int:
    """The number of steps that are left out of a change of an item: 0 of strength 1, all of strength 0.

    >>> start_of(0.75, 20), start_of(0.0, 20), start_of(1.0, 20)
    (5, 20, 0)
    """
    return steps - round(strength * steps)


def noised(x: Tensor, noise: Tensor, time: float) -> Tensor:
    """Items (b, ...) at a time between data and noise."""
    return on_path(x, noise, torch.full((len(x),), time, device=x.device))
