"""Quantizers in training: recipes, terms, exact resume, and a result that diffusers opens."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from small_nets import SMALL_IMAGES
from torch import Generator

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.distributions import Choices
from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, TrainingDiverged
from vaekit.training.code_stats import set_codes
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.objectives import Objective, Pass
from vaekit.training.recipe import Recipe
from vaekit.training.schedule import Schedule
from vaekit.training.state import State
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight

NET = SMALL_IMAGES
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "vq": ({"latent_channels": 4}, {"codes": 16}, {"codes": {"revive_after": 4}}),
    "cosine-vq": ({"latent_channels": 4}, {"codes": 16}, {"codes": {"by": "gradient", "first": "data"}}),
    "residual-vq": ({"latent_channels": 4}, {"codes": 8, "stages": 2}, {"codes": {}}),
    "fsq": ({"latent_channels": 3}, {"levels": [4, 3, 3]}, {}),
    "lfq": ({"latent_channels": 5}, {"bits": 5}, {}),
    "gumbel": ({"latent_channels": 8}, {"codes": 8}, {"codes": {"temperature": [[0, 1.0], [64, 0.1]]}}),
}
TERM_OF = {"vq": "commitment", "cosine-vq": "codebook", "residual-vq": "commitment", "lfq": "entropy", "gumbel": "kl"}


def table(kind: str, samples: int = 64) -> Recipe:
    net, posterior, codes = KINDS[kind]
    terms = {"mse": 1.0} | ({TERM_OF[kind]: 0.1} if kind in TERM_OF else {})
    words = {
        "vae": {
            "net": {"kind": "kl", **NET, **net},
            "posterior": {"kind": kind, **posterior},
            "likelihood": {"kind": "laplace"},
        },
        "objective": {"terms": terms},
        "schedule": {"samples": samples, "batch_size": 8, "micro_batch": 4, "learning_rate": 1e-2, "averages": [0.9]},
        **codes,
    }
    return Recipe(kind, words)


def stream() -> Stream:
    coarse = torch.rand(24, 3, 2, 2, generator=Generator().manual_seed(0)) * 2 - 1
    return Stream(Tensors(torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")), 0)


def begun(chosen: Recipe) -> State:
    torch.manual_seed(0)
    return initial_train_state(chosen.vae(), chosen.schedule())


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_ends_with_the_same_bits(kind: str) -> None:
    chosen = table(kind)
    whole, stopped = begun(chosen), begun(chosen)
    train(whole, stream(), chosen.objective(), chosen.schedule())

    class Stop(Exception):
        pass

    def stop(step: Step) -> None:
        if step.state.samples == 32:
            raise Stop

    with pytest.raises(Stop):
        train(stopped, stream(), chosen.objective(), chosen.schedule(), after=stop)
    tensors = {name: tensor.clone() for name, tensor in stopped.tensors().items()}
    again = begun(chosen)
    again.restore(tensors, stopped.values())
    train(again, stream(), chosen.objective(), chosen.schedule())
    expected, found = whole.tensors(), again.tensors()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_and_the_log_tells_how_codes_are_used(kind: str) -> None:
    chosen = table(kind, samples=160)
    state, parts = begun(chosen), []
    train(state, stream(), chosen.objective(), chosen.schedule(), after=lambda step: parts.append(step.parts))
    first, last = (sum(each["mse"] for each in some) for some in (parts[:8], parts[-8:]))
    assert last < 0.9 * first
    end = ".stages.1" if kind == "residual-vq" else ""
    assert 0 < parts[-1][f"usage{end}"] <= 1 <= parts[-1][f"perplexity{end}"]
    assert all(math.isfinite(value) for value in parts[-1].values())


@pytest.mark.parametrize("name", ["vq", "fsq"])
def test_the_recipes_build_and_train(name: str) -> None:
    chosen = recipe(name, ["schedule.samples=8", "schedule.batch_size=4"])
    state = begun(chosen)
    x = torch.rand(8, 3, 32, 32, generator=Generator().manual_seed(0)) * 2 - 1
    train(state, Stream(Tensors(x), 0), chosen.objective(), chosen.schedule())
    assert state.samples == 8


def test_what_the_recipe_vq_trains_opens_in_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import VQModel

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = recipe("vq", ["schedule.samples=8", "schedule.batch_size=4"])
    state = begun(chosen)
    x = torch.rand(8, 3, 32, 32, generator=Generator().manual_seed(0)) * 2 - 1
    train(state, Stream(Tensors(x), 0), chosen.objective(), chosen.schedule())
    vae = state.result
    save(vae, tmp_path / "native.safetensors")
    save(vae, tmp_path / "theirs", layout="diffusers")
    back, model = load(tmp_path / "native.safetensors"), VQModel.from_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        assert torch.equal(back.reconstruct(x), vae.reconstruct(x))
        torch.testing.assert_close(model(x).sample, vae.reconstruct(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "codes", "facts"),
    [
        ("fsq", {"decay": 0.9}, ["codes"]),
        ("vq", {"decoy": 0.9}, ["decoy"]),
        ("vq", {"by": "magic"}, ["average", "gradient"]),
        ("vq", {"temperature": 1.0}, ["temperature"]),
        ("gumbel", {"temperature": 0}, ["temperature"]),
        ("gumbel", {"temperature": "hot"}, ["hot"]),
    ],
)
def test_a_table_of_codes_that_makes_no_sense_is_refused(kind: str, codes: dict[str, Any], facts: list[str]) -> None:
    chosen = table(kind)
    with refuses(BadRecipe, *facts):
        Recipe("x", {**chosen.table, "codes": codes}).vae()


def test_the_temperature_is_that_of_the_samples_seen() -> None:
    chosen = table("gumbel")
    vae = chosen.vae()
    x = torch.rand(2, 3, 8, 8)
    for samples, temperature in ((0, 1.0), (32, 0.55), (10**6, 0.1)):
        posterior = Pass(vae, x, samples, Generator()).posterior
        assert isinstance(posterior, Choices)
        assert posterior.temperature == pytest.approx(temperature)


def test_codes_are_counted_over_what_is_trained_on_alone() -> None:
    vae = table("fsq").vae().train()
    objective = Objective({"mse": TERMS["mse"]()}, {"mse": Weight.constant(1.0)})
    with torch.no_grad():
        objective(vae, torch.rand(2, 3, 8, 8), 0, Generator())
    assert vae.to_posterior.counts is None  # type: ignore[attr-defined]


def test_autocast_changes_no_dtype_of_the_latent() -> None:
    for kind in KINDS:
        vae = table(kind).vae().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            q = vae.encode(torch.rand(2, 3, 8, 8))
            assert q.sample(Generator().manual_seed(0)).dtype == torch.float32
            assert vae.prior is not None
            assert q.kl(vae.prior).dtype == torch.float32


def test_the_optimizer_has_a_codebook_only_if_it_is_learned_by_gradient() -> None:
    for by, there in (("average", False), ("gradient", True)):
        vae = table("vq").vae()
        set_codes(vae, {"by": by})
        optimized = initial_train_state(vae, Schedule(8, 8, 1e-3, averages=())).optimizer.param_groups[0]["params"]
        assert any(each is vae.to_posterior.codebook for each in optimized) == there  # type: ignore[attr-defined]


def test_the_codebook_of_a_vae_in_evaluation_mode_is_trained_too() -> None:
    """Loaded VAEs are in that mode."""
    chosen = table("vq")
    state = begun(chosen)
    state.vae.eval()
    before = state.vae.get_parameter("to_posterior.codebook").clone()
    train(state, stream(), chosen.objective(), chosen.schedule())
    assert not torch.equal(state.vae.get_parameter("to_posterior.codebook"), before)


def test_a_step_that_is_passed_over_leaves_nothing_in_a_codebook() -> None:
    chosen = table("vq")
    state = begun(chosen)
    before = {name: each.clone() for name, each in state.tensors().items()}
    nothing = Stream(Tensors(torch.full((24, 3, 8, 8), torch.nan)), 0)
    with pytest.raises(TrainingDiverged):
        train(state, nothing, chosen.objective(), replace(chosen.schedule(), samples=800))
    assert all(torch.equal(each, before[name]) for name, each in state.tensors().items())
    assert state.vae.to_posterior.counts is None and not state.vae.to_posterior.learner.all  # type: ignore[attr-defined]


def test_a_temperature_falls_over_shares_of_the_run() -> None:
    chosen = table("gumbel")
    vae = Recipe("x", {**chosen.table, "codes": {"temperature": [["0%", 1.0], ["100%", 0.1]]}}).vae()
    posterior = Pass(vae, torch.rand(2, 3, 8, 8), 32, Generator()).posterior
    assert isinstance(posterior, Choices) and posterior.temperature == pytest.approx(0.55)
