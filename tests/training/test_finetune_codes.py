"""Fine-tuning the codebook of an existing VAE."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import lacks, refuses

from vaekit.checkpoints.finetuned_writer import BaseModel, base_model_at
from vaekit.checkpoints.save import save
from vaekit.errors import BadRecipe
from vaekit.training.finetune_codes import codebook_settings, describe_codes
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

Make = Callable[[VAE], BaseModel]


@pytest.fixture
def base(tmp_path: Path) -> Make:
    def made(vae: VAE) -> BaseModel:
        save(vae, tmp_path / "source.safetensors")
        return base_model_at(tmp_path / "source.safetensors", "source", "zeros")

    return made


def recipe(codes: object = None, **terms: float) -> Recipe:
    words: dict[str, Any] = {"schedule": {"samples": 100, "batch_size": 4, "learning_rate": 0.1}}
    words["objective"] = {"terms": {"l1": 1.0, **terms}}
    return Recipe("mine", words if codes is None else {**words, "codes": codes})


def test_without_a_table_nothing_is_set(base: Make, vq_vae: VAE) -> None:
    assert codebook_settings(recipe(), base(vq_vae), whole=True) == {}
    assert codebook_settings(recipe(), base(vq_vae), whole=False) == {}


def test_codes_go_on_from_what_they_are_unless_the_table_says_otherwise(base: Make, vq_vae: VAE) -> None:
    parent = base(vq_vae)
    assert codebook_settings(recipe({"decay": 0.5}), parent, whole=True) == {"first": "random", "decay": 0.5}
    assert codebook_settings(recipe({"first": "data"}), parent, whole=True) == {"first": "data"}


@pytest.mark.parametrize(
    ("codes", "whole", "facts"),
    [
        ({"decay": 0.5}, False, ["codes"]),
        (3, True, ["codes", "3"]),
        ({"by": "magic"}, True, ["codes", "magic"]),
        ({"temperature": 1.0}, True, ["codes", "temperature"]),
        ({"decay": 2.0}, True, ["codes", "decay"]),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    base: Make, vq_vae: VAE, codes: object, whole: bool, facts: list[str]
) -> None:
    with refuses(BadRecipe, "mine", *facts):
        codebook_settings(recipe(codes), base(vq_vae), whole)


def test_a_vae_without_codes_is_refused(base: Make, kl_vae: VAE) -> None:
    with refuses(BadRecipe, "codes"):
        codebook_settings(recipe({"decay": 0.5}), base(kl_vae), whole=True)


@pytest.mark.parametrize(
    ("chosen", "missing"),
    [
        (recipe(), ["objective.terms.commitment.weight=0.25", "codes.by=average"]),
        (recipe(commitment=0.25), ["codes.by=average"]),
        (recipe({"decay": 0.5}), ["objective.terms.commitment.weight=0.25"]),
        (recipe(codebook=1.0), ["objective.terms.commitment.weight=0.25"]),
        (recipe({"decay": 0.5}, commitment=0.25), []),
        (recipe(codebook=1.0, commitment=0.25), []),
    ],
)
def test_what_keeps_codes_and_encoder_together_is_suggested(
    base: Make, vq_vae: VAE, chosen: Recipe, missing: list[str]
) -> None:
    messages: list[str] = []
    describe_codes(chosen, base(vq_vae), messages.append)
    assert len(messages) == bool(missing)
    everything = ["objective.terms.commitment.weight=0.25", "codes.by=average"]
    assert [each for each in everything if messages and not lacks(messages[0], each)] == missing


def test_nothing_is_said_of_a_vae_without_codes(base: Make, kl_vae: VAE) -> None:
    describe_codes(recipe(), base(kl_vae), pytest.fail)
