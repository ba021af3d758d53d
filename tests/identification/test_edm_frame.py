"""Playground 2.5: a normalization beside the weights, in a space of its own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.catalog.entries import latent_spaces
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import WrongTensors
from vaekit.families import family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.normalization import normalization_of_settings
from vaekit.identification.identify import identify
from vaekit.identification.normalization import find_normalization
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE, normalize

MEAN = torch.tensor([-1.6574, 1.886, -1.383, 2.5155]).view(1, 4, 1, 1)
STD = torch.tensor([8.4927, 5.9022, 6.5498, 5.2299]).view(1, 4, 1, 1)
WIDTHS = (128, 256, 512, 512)
SD1_SHAPED = KLConfig(3, 4, 4, WIDTHS, WIDTHS, 2, 3, (), (), True, True, True, 32)


def checkpoint(vae: VAE, folder: Path, beside: dict[str, Tensor], prefix: str = "first_stage_model.") -> Path:
    """A whole checkpoint: the VAE behind its prefix, a denoiser, and tensors beside them."""
    save(vae, folder / "vae.safetensors", "ldm")
    weights = {prefix + key: tensor for key, tensor in load_file(folder / "vae.safetensors").items()}
    stranger = {"model.diffusion_model.out.weight": torch.zeros(1)} if prefix else {}
    save_file(weights | stranger | beside, folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


def normalization_in(path: Path) -> LatentNormalization:
    seen = identify(path)
    assert seen.normalization_source == "the file's edm_mean and edm_std"
    assert seen.normalization is not None
    return seen.normalization


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["first_stage_model.", ""])
def test_a_checkpoint_tells_it_in_two_tensors(kl_vae: VAE, tmp_path: Path, dtype: torch.dtype, prefix: str) -> None:
    path = checkpoint(kl_vae, tmp_path, {"edm_mean": MEAN.to(dtype), "edm_std": STD.to(dtype)}, prefix)
    z = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = (z - MEAN.to(dtype).float()) * 0.5 / STD.to(dtype).float()
    torch.testing.assert_close(normalize(z, normalization_in(path)), expected)
    assert load(path).normalization == normalization_in(path)


def test_the_kind_is_known_by_its_normalization_even_in_half_precision() -> None:
    told = LatentNormalization(
        tuple(MEAN.half().flatten().tolist()), tuple((0.5 / STD.half().double()).flatten().tolist())
    )
    found, normalization, _ = find_normalization(family_of("kl"), SD1_SHAPED, {}, {}, [(told, "its tensors")])
    assert ([space.name for space in found], normalization) == (["Playground 2.5"], told)


def test_its_config_json_tells_the_same_normalization() -> None:
    settings = {
        "latents_mean": MEAN.double().flatten().tolist(),
        "latents_std": STD.double().flatten().tolist(),
        "scaling_factor": 0.5,
    }
    found, _, source = find_normalization(family_of("kl"), SD1_SHAPED, {}, settings)
    assert ([space.name for space in found], source) == (["Playground 2.5"], "config.json")
    (playground,) = (space for space in latent_spaces() if space.name == "Playground 2.5")
    exact = {"latents_mean": [-1.6574, 1.886, -1.383, 2.5155], "latents_std": [8.4927, 5.9022, 6.5498, 5.2299]}
    assert normalization_of_settings(exact | {"scaling_factor": 0.5}) == playground.normalization


@pytest.mark.parametrize(
    "beside",
    [
        {"edm_mean": MEAN},
        {"edm_std": STD},
        {"edm_mean": MEAN, "edm_std": STD[:, :3]},
        {"edm_mean": MEAN, "edm_std": torch.zeros(1, 4, 1, 1)},
        {"edm_mean": MEAN, "edm_std": -STD},
        {"edm_mean": MEAN * torch.inf, "edm_std": STD},
        {"edm_mean": MEAN.int(), "edm_std": STD},
    ],
)
def test_what_cannot_be_used_is_refused(kl_vae: VAE, tmp_path: Path, beside: dict[str, Tensor]) -> None:
    with pytest.raises(WrongTensors):
        identify(checkpoint(kl_vae, tmp_path, beside))
