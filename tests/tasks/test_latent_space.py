"""The space of a diffusion model: preparation of items, and decoding of latents of a codebook."""

from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from small_diffusion import write_vae
from small_nets import SMALL_IMAGES

from vaekit.checkpoints.save import save
from vaekit.errors import BadRecipe
from vaekit.tasks.latent_space import encoded_space
from vaekit.tasks.options import ModelOptions
from vaekit.training.recipe import Recipe

NET = {"kind": "kl", "latent_channels": 4, **SMALL_IMAGES}


def codes_vae(path: Path, posterior: dict[str, Any]) -> Path:
    torch.manual_seed(0)
    vae = Recipe("codes", {"vae": {"net": NET, "posterior": posterior, "likelihood": {"kind": "laplace"}}}).vae()
    save(vae, path)
    return path


def test_latents_of_a_codebook_are_moved_to_its_vectors(tmp_path: Path) -> None:
    path = codes_vae(tmp_path / "vq.safetensors", {"kind": "vq", "codes": 16})
    space = encoded_space(ModelOptions(str(path)), "cpu", {"size": 8})
    mean, log_variance = space.encode(torch.randn(2, 3, 8, 8))
    assert log_variance is None
    close = mean + 1e-3 * torch.randn(mean.shape)
    torch.testing.assert_close(space.quantized(close), mean)
    torch.testing.assert_close(space.decode(close, (8, 8)), space.decode(mean, (8, 8)))


def test_other_latents_stay_as_they_are(tmp_path: Path) -> None:
    space = encoded_space(ModelOptions(str(write_vae(tmp_path / "kl.safetensors"))), "cpu")
    z = torch.randn(2, 2, 4, 4)
    assert space.quantized(z) is z


def test_a_recipe_sets_the_size_of_items_for_a_vae_that_takes_any(tmp_path: Path) -> None:
    vae = ModelOptions(str(write_vae(tmp_path / "kl.safetensors")))
    assert encoded_space(vae, "cpu").schema.example().shape == (1, 1, 8, 8)
    wider = encoded_space(vae, "cpu", {"domain": "images", "size": 16, "channels": 3, "crop": "whole"})
    assert wider.schema.example().shape == (1, 1, 16, 16)
    with refuses(BadRecipe, "crop"):
        encoded_space(vae, "cpu", {"crop": "diagonal"})


@pytest.mark.parametrize("size", [8, 12])
def test_what_is_encoded_is_decoded_in_its_size(tmp_path: Path, size: int) -> None:
    space = encoded_space(ModelOptions(str(write_vae(tmp_path / "kl.safetensors"))), "cpu", {"size": size})
    mean, log_variance = space.encode(torch.rand(3, 1, size, size))
    assert log_variance is not None and mean.shape == log_variance.shape == (3, 2, size // 2, size // 2)
    assert space.decode(mean, (size, size)).shape == (3, 1, size, size)
