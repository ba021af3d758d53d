"""The table [adversarial] of a recipe, and runs that have one, through `run_training`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import lacks, refuses
from torch import Generator, Tensor

from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, TrainingDiverged
from vaekit.training import loop
from vaekit.training.adversarial.from_recipe import adversarial_setup
from vaekit.training.data import Stream, Tensors
from vaekit.training.log import LogEvent
from vaekit.training.objectives import Objective
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run, run_training
from vaekit.training.state import newest_checkpoint
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight

NET = {"kind": "mlp", "data_shape": [3, 16, 16], "latent_channels": 4, "hidden": [16]}
WORDS: dict[str, Any] = {
    "vae": {"family": "parts", "net": NET, "posterior": {"kind": "gaussian"}, "likelihood": {"kind": "laplace"}},
    "objective": {"terms": {"l1": 1.0, "kl": 1e-6}, "per_dimension": True},
    "schedule": {"samples": 96, "batch_size": 8, "learning_rate": 1e-3, "averages": [0.9]},
    "adversarial": {
        "learn_from": 16,
        "pull_from": 32,
        "discriminator": {"width": 4, "layers": 1, "groups": 4},
        "guard": {"every": 16, "bound": 3.0},
    },
}


@pytest.fixture
def run(smooth_images: Callable[[int, int, Generator], Tensor], tmp_path: Path) -> Callable[..., Run]:
    images = smooth_images(32, 16, Generator().manual_seed(0))

    def prepared(folder: str, **adversarial: Any) -> Run:
        table = Recipe("small", WORDS | {"adversarial": WORDS["adversarial"] | adversarial})
        against = adversarial_setup(table, 3, images[:8], 0)
        return Run(
            table,
            tmp_path / folder,
            Stream(Tensors(images), 0),
            {},
            table.objective(),
            table.schedule(),
            images[:8],
            adversary=against.adversary,
            guard=against.guard,
            extras=against.extras,
            log_every=4,
        )

    return prepared


def test_one_seed_gives_one_adversary() -> None:
    state = torch.random.get_rng_state()
    first, same, other = (adversarial_setup(Recipe("r", WORDS), 3, None, seed).adversary for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state()), "torch's own generator is left alone"
    assert first is not None and same is not None and other is not None
    weights = [each.net.convs[0].weight for each in (first, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_recipe_without_the_table_has_none() -> None:
    found = adversarial_setup(recipe("kl-f8"), 3, None, 0)
    assert found.adversary is None and found.guard is None and found.extras == {}


def test_the_gan_recipe_is_the_plain_one_with_an_adversary() -> None:
    plain, gan = (dict(recipe(name).table) for name in ("kl-f8", "kl-f8-gan"))
    for words in (plain, gan):
        del words["about"]
    gan.pop("adversarial")
    assert plain == gan
    found = adversarial_setup(recipe("kl-f8-gan"), 3, torch.zeros(1, 3, 64, 64), 0)
    assert found.guard is not None and found.adversary is not None
    assert found.adversary.config.pull_from + found.adversary.config.ramp < recipe("kl-f8-gan").schedule().samples


def test_ldms_plain_schedule_can_be_set() -> None:
    changes = [
        "learn_from=1200024",
        "pull_from=1200024",
        "ramp=0",
        "lecam=0.0",
        "earned=false",
        "guard.bound=0.0",
        "largest=0.05",
    ]
    plain = recipe("kl-f8-gan", [f"adversarial.{change}" for change in changes])
    found = adversarial_setup(plain, 3, torch.zeros(1, 3, 64, 64), 0)
    assert found.guard is None and found.adversary is not None
    assert found.adversary.config.weight_at(1_200_023) == 0 and found.adversary.config.weight_at(1_200_024) == 0.5


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"speed": 1}, ["[adversarial]", "speed"]),
        ({"learn_from": "soon"}, ["[adversarial]", "soon"]),
        ({"guard": {"bound": -1.0}}, ["[adversarial.guard]", "bound"]),
        ({"discriminator": {"norm": "batch"}}, ["[adversarial.discriminator]", "batch"]),
        ({"discriminator": 3}, ["[adversarial.discriminator]"]),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(change: dict[str, Any], facts: list[str]) -> None:
    with refuses(BadRecipe, *facts):
        adversarial_setup(Recipe("mine", WORDS | {"adversarial": WORDS["adversarial"] | change}), 3, None, 0)


def test_a_run_with_an_adversary_goes_on_exactly(run: Callable[..., Run]) -> None:
    run_training(run("whole"))
    with pytest.raises(Killed):
        run_training(replace(run("parts"), save_seconds=0.0), kill_after_48)
    run_training(run("parts"))
    there, here = (newest_checkpoint(run(name).folder / "checkpoints", pytest.fail) for name in ("whole", "parts"))
    assert there is not None and here is not None
    assert there[1] == here[1] and there[0].keys() == here[0].keys()
    assert all(torch.equal(each, here[0][name]) for name, each in there[0].items())
    assert any(name.startswith("adversary.net.") for name in here[0])


class Killed(Exception):
    """In the middle."""


def kill_after_48(news: LogEvent) -> None:
    if news.samples > 48:
        raise Killed


def test_the_guard_is_told_of_in_the_log_and_in_words(run: Callable[..., Run]) -> None:
    said: list[str] = []
    looks: list[Any] = []
    brutal = run("brutal", weight=1e4, adaptive=False, learning_rate=1e-2, guard={"every": 16, "bound": 0.1})
    brutal = replace(brutal, schedule=replace(brutal.schedule, learning_rate=3e-2))
    run_training(brutal, lambda news: looks.append(news) if "psnr_kept" in news.numbers else None, said.append)
    assert any("PSNR" in each for each in said)
    assert [news.samples for news in looks] == [32, 48, 64, 80, 96]


def test_a_run_that_diverges_goes_back_and_then_to_its_end(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PATIENCE", 1)
    guarded = run("poisoned")
    adversary: Any = guarded.adversary
    pull = adversary.generator_loss

    def poisoned(losses: Any, vae: Any, samples: int) -> Any:
        pulled, told = pull(losses, vae, samples)
        return (pulled * float("nan") if samples == 64 and adversary.strength == 1.0 else pulled), told

    adversary.generator_loss = poisoned
    said: list[str] = []
    run_training(guarded, say=said.append)
    assert any(not lacks(each, "64") for each in said)
    assert guarded.guard is not None and guarded.guard.rollbacks == 1

    unguarded = replace(run("unguarded"), guard=None)
    other: Any = unguarded.adversary
    other.generator_loss = lambda losses, *_: (losses.total * float("nan"), {})
    with pytest.raises(TrainingDiverged):
        run_training(unguarded)


def test_places_may_be_shares_of_the_run() -> None:
    told = recipe("kl-f8-gan", ["schedule.samples=1000", "adversarial.discriminator.width=32"])
    adversary = adversarial_setup(told, 3, None, 0).adversary
    assert adversary is not None
    assert (adversary.config.learn_from, adversary.config.pull_from, adversary.config.ramp) == (500, 525, 100)
    with pytest.raises(BadRecipe):
        adversarial_setup(recipe("kl-f8-gan", ["adversarial.ramp=soon"]), 3, None, 0)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"schedule": {**WORDS["schedule"], "compiled": True}}, ["adaptive"]),
        ({"adversarial": {**WORDS["adversarial"], "discriminator": {"width": 4, "layers": 5, "groups": 4}}}, ["16x16"]),
    ],
)
def test_what_would_fail_in_the_middle_of_a_run_fails_before_it(changes: dict[str, Any], facts: list[str]) -> None:
    with refuses(BadRecipe, *facts):
        adversarial_setup(Recipe("r", {**WORDS, **changes}), 3, torch.zeros(1, 3, 16, 16), 0)


def test_an_adaptive_weight_without_a_measure_is_refused_before_the_run(run: Callable[..., Run]) -> None:
    objective = Objective({"kl": TERMS["kl"]()}, {"kl": Weight.constant(1.0)})
    with pytest.raises(BadRecipe):
        run_training(replace(run("blind"), objective=objective))
