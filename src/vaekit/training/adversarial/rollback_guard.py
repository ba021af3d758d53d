"""Roll adversarial training back if reconstructions degrade more than allowed.

Held-out PSNR is measured just before the adversarial loss starts, and at regular intervals afterwards. As long
as it is at most a bound below that first value, the state is kept. If it falls further or is non-finite,
the VAE, its averages, both optimizers and the discriminator are restored, and the adversarial weight is
halved. The number of samples and the data position do not change: a rollback does not make a run longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaekit.metrics.image.psnr import decibels
from vaekit.training.adversarial.adversary import Adversary
from vaekit.training.processes import ProcessGroup
from vaekit.training.state import State, Stateful, inside
from vaekit.training.terms.plain import item_means
from vaekit.vae import VAE

LEAST_ERROR = 1e-10
BATCH = 32
MOST = 20
"""The maximum number of rollbacks after non-finite losses; then training fails."""


@dataclass(frozen=True)
class GuardConfig:
    """The table [adversarial.guard] of a recipe."""

    bound: float = 0.5
    """The maximum loss of held-out PSNR in dB; 0 for no guard."""
    every: int = 10_000
    """Samples between two checks."""
    items: int = 128
    """The maximum number of held-out items."""

    def __post_init__(self) -> None:
        if self.bound < 0 or self.every < 1 or self.items < 1:
            raise ValueError("bound must be at least 0, every and items at least 1")


@dataclass(frozen=True)
class GuardVerdict:
    """The result of a check."""

    numbers: Mapping[str, float]
    """Held-out PSNR in dB of the weights in training and of those that are kept."""
    message: str
    """A message for the user; empty without a rollback."""


class RollbackGuard(Stateful):
    """The guard of one run. Its own state is saved in the run's checkpoints.

    Args:
        config: bound and interval.
        adversary: whose strength is halved.
        held_out: items, (b, ...).
    """

    def __init__(self, config: GuardConfig, adversary: Adversary, held_out: Tensor) -> None:
        self.config, self.adversary = config, adversary
        self.held_out = held_out[: config.items]
        self.level: list[float] = []
        """PSNR in dB before the adversarial loss started: of the weights in training and of those that are kept."""
        self.checked_at = 0
        """Samples at the last check."""
        self.rollbacks = 0
        self.good: dict[str, Tensor] = {}
        """The tensors of the last good state."""
        self.good_values: dict[str, Any] = {}
        """Its other values."""

    def after(self, state: State[VAE], processes: ProcessGroup) -> GuardVerdict | None:
        """Check if due, and roll back if needed. Called after every step, in all processes."""
        if state.samples < self.adversary.config.pull_from:
            return None
        if self.level and state.samples - self.checked_at < self.config.every:
            return None
        measured = self.measure(state, processes)
        self.checked_at = state.samples
        numbers = {"psnr_trained": measured[0], "psnr_kept": measured[1]}
        self.level = self.level or measured
        losses = [before - now for before, now in zip(self.level, measured, strict=True)]
        if all(loss <= self.config.bound for loss in losses):
            self.remember(state)
            return GuardVerdict(numbers, "")
        self.go_back(state)
        worst = max(losses, key=lambda loss: float("inf") if loss != loss else loss)
        change = f"has fallen by {worst:.2f} dB" if worst == worst else "is non-finite"
        return GuardVerdict(numbers, f"Held-out PSNR {change} since the adversarial loss started: {self.outcome()}")

    def recover(self, state: State[VAE]) -> bool:
        """Roll back after a non-finite loss; False if there is no saved state or the limit is reached."""
        if not self.good or self.rollbacks >= MOST:
            return False
        self.go_back(state)
        return True

    def outcome(self) -> str:
        """A description of the rollback."""
        return (
            f"VAE and discriminator are restored to their state after {self.good_values['samples']:,} samples, and the "
            f"adversarial weight is halved ({self.adversary.strength:g} of the recipe's)."
        )

    def measure(self, state: State[VAE], processes: ProcessGroup) -> list[float]:
        """PSNR in dB of the weights in training and of those that are kept, measured by the first process and returned
        in all of them."""
        measured = torch.zeros(2, device=next(state.vae.parameters()).device)
        if processes.first:
            measured += torch.tensor([self.psnr(state.vae), self.psnr(state.result)]).to(measured)
        processes.sum_([measured])
        return measured.tolist()

    @torch.no_grad()
    def psnr(self, vae: VAE) -> float:
        """Mean PSNR of the held-out items in dB, decoded from posterior modes. Leaves the VAE in evaluation mode."""
        vae.eval()
        device = next(vae.parameters()).device
        parts = [(x, vae.reconstruct(x)) for x in self.held_out.to(device).split(BATCH)]
        errors = torch.cat([item_means((y - x).float().square()) for x, y in parts]).clamp(min=LEAST_ERROR)
        return decibels(errors).mean().item()

    def remember(self, state: State[VAE]) -> None:
        """Keep a copy of this state as the last good one."""
        watched = self.watched(state)
        self.good = {name: tensor.detach().cpu().clone() for name, tensor in watched.tensors().items()}
        self.good_values = watched.values()

    def go_back(self, state: State[VAE]) -> None:
        """Restore the last good state, except for the number of samples, and halve the adversarial weight."""
        strength = self.adversary.strength
        # Copies: an optimizer updates the tensors of its state in place.
        self.watched(state).restore({name: each.clone() for name, each in self.good.items()}, self.good_values)
        state.optimizer.zero_grad(set_to_none=True)
        state.passed_over = 0
        self.adversary.strength = strength / 2
        self.rollbacks += 1

    def watched(self, state: State[VAE]) -> State[VAE]:
        """The state without the guard."""
        return replace(state, extras={name: each for name, each in state.extras.items() if each is not self})

    def tensors(self) -> dict[str, Tensor]:
        return {f"good.{name}": tensor for name, tensor in self.good.items()}

    def values(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "looked": self.checked_at,
            "rollbacks": self.rollbacks,
            "good": self.good_values,
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.good = {name: tensor.clone() for name, tensor in inside(tensors, "good").items()}
        self.level, self.good_values = [float(each) for each in values["level"]], dict(values["good"])
        self.checked_at, self.rollbacks = int(values["looked"]), int(values["rollbacks"])
