"""A guard steps in when reconstructions worsen, and what it does is part of the run's state."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import lacks
from slow_cases import nightly
from torch import Generator, Tensor

from vaekit.errors import TrainingDiverged
from vaekit.metrics.image.psnr import psnr
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.training import loop
from vaekit.training.adversarial.adversary import Adversarial, Adversary
from vaekit.training.adversarial.rollback_guard import GuardConfig, RollbackGuard
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.objectives import Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.schedule import Schedule
from vaekit.training.state import State, newest_checkpoint, save_state
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE

Draw = Callable[[int, int, Generator], Tensor]
SCHEDULE = Schedule(160, 8, 3e-3, averages=(0.9,))
GENTLE, BRUTAL = 0.0, 1e4
"""Weights of the pull. The second is a planted collapse: nothing but the adversary counts."""


@pytest.fixture(scope="module")
def images(smooth_images: Draw) -> Tensor:
    return smooth_images(32, 16, Generator().manual_seed(0))


class Training:
    """A run with a guard, at its beginning."""

    def __init__(self, vae: VAE, images: Tensor, weight: float, **guard: Any) -> None:
        torch.manual_seed(1)
        config = Adversarial(learn_from=32, pull_from=64, weight=weight, adaptive=False, learning_rate=1e-3)
        self.adversary = Adversary(config, Discriminator(DiscriminatorConfig(width=4, layers=1, groups=4)))
        self.guard = RollbackGuard(GuardConfig(**{"bound": 0.5, "every": 16, **guard}), self.adversary, images[:8])
        self.state = initial_train_state(vae, SCHEDULE)
        self.state.extras = {"adversary": self.adversary, "guard": self.guard}
        self.stream = Stream(Tensors(images), 0)
        self.words: list[tuple[int, str]] = []

    def go(self, after: Callable[[State], None] = lambda _: None) -> "Training":
        objective = Objective({"l1": TERMS["l1"]()}, {"l1": Weight.constant(1.0)})

        def look(step: Step) -> None:
            verdict = self.guard.after(step.state, ProcessGroup())
            if verdict is not None and verdict.message:
                self.words.append((step.state.samples, verdict.message))
            after(step.state)

        train(self.state, self.stream, objective, SCHEDULE, adversary=self.adversary, after=look)
        return self


def test_nothing_is_looked_at_before_the_adversary_is_seen(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    training = Training(fresh_vae(), images, GENTLE)
    levels: dict[int, list[float]] = {}
    training.go(lambda state: levels.update({state.samples: list(training.guard.level)}))
    assert levels[56] == [] and len(levels[64]) == 2, "the first look is just before the first pull"
    assert training.words == [] and training.adversary.strength == 1.0 and training.guard.rollbacks == 0


def test_what_it_measures_is_psnr(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    training, vae = Training(fresh_vae(), images, GENTLE), fresh_vae().eval()
    with torch.no_grad():
        wanted = psnr(images[:8], vae.reconstruct(images[:8])).mean().item()
    assert training.guard.psnr(vae) == pytest.approx(wanted, rel=1e-5)


def test_a_collapse_is_taken_back(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    kept: dict[int, dict[str, Tensor]] = {}
    training = Training(fresh_vae(), images, BRUTAL)
    training.go(lambda state: kept.update({state.samples: copied(state)}))
    place, words = training.words[0]
    assert not lacks(words, "PSNR", place - 16)
    for name, tensor in kept[place - 16].items():
        if not name.startswith("guard."):
            assert torch.equal(kept[place][name], tensor), name
    assert training.adversary.strength == 0.5**training.guard.rollbacks < 1
    assert training.state.samples == SCHEDULE.samples, "the run ends when it would have ended"


def copied(state: State) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in state.tensors().items()}


def test_weights_that_are_no_numbers_are_taken_back(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    training = Training(fresh_vae(), images, GENTLE).go()
    with torch.no_grad():
        next(training.state.vae.parameters()).fill_(float("nan"))
    training.state.samples += 16
    verdict = training.guard.after(training.state, ProcessGroup())
    assert verdict is not None and "PSNR" in verdict.message
    assert all(torch.isfinite(each).all() for each in training.state.vae.parameters())


def test_a_loss_that_is_no_number_is_recovered_from(
    fresh_vae: Callable[[], VAE], images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `run_training` does it: the loop stops, the guard goes back, the loop goes on."""
    monkeypatch.setattr(loop, "PATIENCE", 1)
    training = Training(fresh_vae(), images, GENTLE)
    assert not training.guard.recover(training.state), "before the adversary there is nothing to go back to"

    def poison(state: State) -> None:
        if state.samples == 96 and training.guard.rollbacks == 0:
            with torch.no_grad():
                next(state.vae.parameters()).fill_(float("nan"))

    with pytest.raises(TrainingDiverged):
        training.go(poison)
    assert training.guard.recover(training.state)
    training.go()
    assert training.state.samples == SCHEDULE.samples and training.adversary.strength == 0.5
    assert all(torch.isfinite(each).all() for each in training.state.vae.parameters())


class Killed(Exception):
    """In the middle."""


@pytest.mark.parametrize("stops", [[72, 80], *nightly([48], [88, 120])])
def test_a_killed_run_ends_with_the_same_bits(
    fresh_vae: Callable[[], VAE], images: Tensor, tmp_path: Path, stops: list[int]
) -> None:
    """Before the adversary is seen, between a look and a rollback, and behind it."""
    whole = Training(fresh_vae(), images, BRUTAL).go()
    assert whole.guard.rollbacks > 0
    for stop in stops:
        part = resumed(fresh_vae(), images, tmp_path)

        def stopping(state: State, stop: int = stop) -> None:
            if state.samples == stop:
                save_state(state, tmp_path)
            if state.samples == stop + 8:
                raise Killed

        with pytest.raises(Killed):
            part.go(stopping)
    last = resumed(fresh_vae(), images, tmp_path).go()
    there, here = whole.state.tensors(), last.state.tensors()
    assert there.keys() == here.keys()
    assert all(torch.equal(there[name], here[name]) for name in there)
    assert whole.state.values() == last.state.values()


def resumed(vae: VAE, images: Tensor, folder: Path) -> Training:
    training = Training(vae, images, BRUTAL)
    found = newest_checkpoint(folder, pytest.fail)
    if found is not None:
        training.state.restore(*found)
    return training


def test_what_is_remembered_does_not_change_with_the_run(fresh_vae: Callable[[], VAE], images: Tensor) -> None:
    training = Training(fresh_vae(), images, GENTLE, every=10**6).go()
    before = copy.deepcopy(training.guard.good)
    training.guard.go_back(training.state)
    training.state.samples = 64
    training.go()
    assert all(torch.equal(training.guard.good[name], each) for name, each in before.items())


@pytest.mark.parametrize("wrong", [{"bound": -1.0}, {"every": 0}, {"items": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        GuardConfig(**wrong)
