"""Previews of a model's latents: by a linear map fitted to its examples, or decoded where that shows nothing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vaekit.diffusion.conditions import NoCondition
from vaekit.diffusion.files import DiffusionFacts, DiffusionFile
from vaekit.diffusion.model import ModelConfig
from vaekit.diffusion.samplers import Sampling
from vaekit.domains.images.read import read_image
from vaekit.nets.dit import DiTConfig
from vaekit.tasks import generator_previews as module
from vaekit.tasks.generator_previews import generator_previews
from vaekit.tasks.latent_agreement import correlation
from vaekit.tasks.latent_space import EncodedSpace, encoded_space
from vaekit.tasks.options import ModelOptions
from vaekit.testcards.dead_leaves import dead_leaves

SIZE = (128, 192)


@pytest.fixture(scope="module")
def space() -> EncodedSpace:
    """A trained VAE."""
    return encoded_space(ModelOptions("builtin"), "cpu")


@pytest.fixture(scope="module")
def file(space: EncodedSpace) -> DiffusionFile:
    """A model of images."""
    examples = space.encode(dead_leaves(3, SIZE, torch.Generator().manual_seed(1)))[0]
    net = DiTConfig(examples.shape[1], tuple(examples.shape[2:]), patch=2, width=16, depth=1, heads=2)
    facts = DiffusionFacts(space.origin, "images", space.schema.as_plain(), SIZE, 1.0, Sampling())
    return DiffusionFile(ModelConfig(net, NoCondition()).build(), facts, examples)


def test_maps_are_shown_by_colors_that_are_fitted_to_the_examples(
    file: DiffusionFile, space: EncodedSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    previews = generator_previews(file, space, space.schema, tmp_path)

    def decode(*_: object) -> Tensor:
        raise AssertionError("it is decoded")

    monkeypatch.setattr(EncodedSpace, "decode", decode)
    image = dead_leaves(1, SIZE, torch.Generator().manual_seed(5))
    previews.write(space.encode(image)[0])
    shown = read_image(tmp_path / "PREVIEW.png").pixels
    assert shown.shape[2] % 16 == 0 and min(shown.shape[2:]) >= 160
    assert correlation(shown, image) > 0.9
    previews.write(torch.full_like(file.examples[:1], float("nan")))
    assert read_image(tmp_path / "PREVIEW.png").pixels.isfinite().all()


def test_small_maps_are_decoded(
    file: DiffusionFile, space: EncodedSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_SIDE", 1 + min(file.examples.shape[2:]))
    previews = generator_previews(file, space, space.schema, tmp_path)
    raw = file.examples[:1]
    previews.write(raw)
    shown = read_image(tmp_path / "PREVIEW.png").pixels
    assert torch.allclose(shown[..., : SIZE[0], : SIZE[1]], space.decode(raw, SIZE).clamp(-1, 1), atol=0.02)
