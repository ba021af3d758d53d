"""Roll adversarial training back if reconstructions degrade more than allowed.

Held-out PSNR is measured just before the adversarial loss starts, and at regular intervals afterwards. As long
as it is at most a bound below that first value, the state is kept. When it falls further or is non-finite,
the VAE, its averages, both optimizers and the discriminator are restored, and the adversarial weight is
halved. Samples and data go on: a run with a guard ends when it would have ended without.
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
    words: str
    """A message for the user; empty if all is well."""


class RollbackGuard(Stateful):
    """Watches one run. Part of its state, with what it remembers."""

    def __init__(self, config: GuardConfig, opponent: Adversary, held_out: Tensor) -> None:
        self.config, self.opponent = config, opponent
        self.held_out = held_out[: config.items]
        self.level: list[float] = []
        """PSNR before the opponent was seen, in training and kept, dB."""
        self.looked = 0
        """Samples at the last look."""
        self.rollbacks = 0
        self.good: dict[str, Tensor] = {}
        self.good_words: dict[str, Any] = {}

    def after(self, state: State, processes: ProcessGroup) -> GuardVerdict | None:
        """Check if due, and roll back if needed. Called after every step, in all processes."""
        if state.samples < self.opponent.config.pull_from:
            return None
        if self.level and state.samples - self.looked < self.config.every:
            return None
        found = self.agreed(state, processes)
        self.looked = state.samples
        numbers = {"psnr_trained": found[0], "psnr_kept": found[1]}
        self.level = self.level or found
        losses = [before - now for before, now in zip(self.level, found, strict=True)]
        if all(loss <= self.config.bound for loss in losses):
            self.remember(state)
            return GuardVerdict(numbers, "")
        self.go_back(state)
        worst = max(losses, key=lambda loss: float("inf") if loss != loss else loss)
        told = f"has fallen by {worst:.2f} dB" if worst == worst else "is non-finite"
        return GuardVerdict(numbers, f"Held-out PSNR {told} since the adversarial loss started: {self.outcome()}")

    def recover(self, state: State) -> bool:
        """Roll back after a non-finite loss; False if there is no saved state or the limit is reached."""
        if not self.good or self.rollbacks >= MOST:
            return False
        self.go_back(state)
        return True

    def outcome(self) -> str:
        """A description of the rollback."""
        return (
            f"VAE and discriminator are restored to their state after {self.good_words['samples']:,} samples, and the "
            f"adversarial weight is halved ({self.opponent.strength:g} of the recipe's)."
        )

    def agreed(self, state: State, processes: ProcessGroup) -> list[float]:
        """What the first process measures; the same in all of them."""
        measured = torch.zeros(2, device=next(state.vae.parameters()).device)
        if processes.first:
            measured += torch.tensor([self.psnr(state.vae), self.psnr(state.result)]).to(measured)
        processes.sum_([measured])
        return measured.tolist()

    @torch.no_grad()
    def psnr(self, vae: VAE) -> float:
        """Mean over the held-out items, in dB, through the posterior's mode. The VAE is in evaluation mode after it."""
        vae.eval()
        device = next(vae.parameters()).device
        parts = [(x, vae.reconstruct(x)) for x in self.held_out.to(device).split(BATCH)]
        errors = torch.cat([item_means((y - x).float().square()) for x, y in parts]).clamp(min=LEAST_ERROR)
        return decibels(errors).mean().item()

    def remember(self, state: State) -> None:
        """This state is good."""
        watched = self.watched(state)
        self.good = {name: tensor.detach().cpu().clone() for name, tensor in watched.tensors().items()}
        self.good_words = watched.words()

    def go_back(self, state: State) -> None:
        """Become the last good state, but for the samples seen, with half the weight."""
        strength = self.opponent.strength
        # Copies: an optimizer takes the tensors that it is given for its own.
        self.watched(state).restore({name: each.clone() for name, each in self.good.items()}, self.good_words)
        state.optimizer.zero_grad(set_to_none=True)
        state.passed_over = 0
        self.opponent.strength = strength / 2
        self.rollbacks += 1

    def watched(self, state: State) -> State:
        """The state without the guard's own."""
        return replace(state, extras={name: each for name, each in state.extras.items() if each is not self})

    def tensors(self) -> dict[str, Tensor]:
        return {f"good.{name}": tensor for name, tensor in self.good.items()}

    def words(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "looked": self.looked,
            "rollbacks": self.rollbacks,
            "good": self.good_words,
        }

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        self.good = {name: tensor.clone() for name, tensor in inside(tensors, "good").items()}
        self.level, self.good_words = [float(each) for each in words["level"]], dict(words["good"])
        self.looked, self.rollbacks = int(words["looked"]), int(words["rollbacks"])
