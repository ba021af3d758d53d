"""Converted files open in diffusers, offline, and give the same output.

Both sides compute in fp64 with the fp32 weights of the file: what is left is the order of additions.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

RandomVAE = Callable[..., VAE]
WIDTHS = (32, 32, 64, 64)
CLOSE = {"rtol": 0.0, "atol": 1e-6}


def kl(channels: int, quant: bool) -> KLConfig:
    """As SD1, SDXL, SD3 and FLUX.1 are built, but narrow."""
    return KLConfig(3, channels, channels, WIDTHS, WIDTHS, 2, 3, (), (), True, quant, quant, 32)


MODELS: dict[str, tuple[KLConfig, LatentNormalization]] = {
    "SD1": (kl(4, True), LatentNormalization((0.0,), (0.18215,))),
    "SDXL": (kl(4, True), LatentNormalization((0.0,), (0.13025,))),
    "SD3": (kl(16, False), LatentNormalization((0.0609,), (1.5305,))),
    "FLUX.1": (kl(16, False), LatentNormalization((0.1159,), (0.3611,))),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def images() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double() * 2 - 1


def assert_same(ours: VAE, theirs: Any) -> None:
    """The moments of images, and the images of latents, are the same."""
    ours, theirs, x = ours.double(), theirs.eval().double(), images()
    with torch.no_grad():
        mean = ours.encode(x).mean
        torch.testing.assert_close(theirs.encode(x).latent_dist.mean, mean, **CLOSE)
        torch.testing.assert_close(theirs.decode(mean).sample, ours.decode(mean), **CLOSE)


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_and_one_file(random_vae: RandomVAE, tmp_path: Path, name: str) -> None:
    from diffusers import AutoencoderKL

    config, normalization = MODELS[name]
    save(random_vae(config, normalization), tmp_path / "native.safetensors")
    convert(tmp_path / "native.safetensors", tmp_path / "folder", "diffusers")
    ours = load(tmp_path / "native.safetensors")
    opened = [AutoencoderKL.from_pretrained(tmp_path / "folder")]
    for ending in ("safetensors", "vae.pt", "ckpt"):
        convert(tmp_path / "folder", tmp_path / f"ldm.{ending}", "ldm")
        # Without a config diffusers asks the Hub for SD1's, whatever the file is.
        opened.append(
            AutoencoderKL.from_single_file(
                str(tmp_path / f"ldm.{ending}"), config=str(tmp_path / "folder"), local_files_only=True
            )
        )
    for theirs in opened:
        assert (theirs.config.scaling_factor, theirs.config.shift_factor or 0.0) == (
            normalization.scale[0],
            normalization.shift[0],
        )
        assert_same(ours, theirs)


def test_flux2(random_vae: RandomVAE, flux2_vae: VAE, tmp_path: Path) -> None:
    from diffusers import AutoencoderKLFlux2

    config = dataclasses.replace(kl(4, True), decoder_widths=(64, 32, 32, 32))
    save(random_vae(config, flux2_vae.normalization), tmp_path / "x.safetensors", "ldm")
    convert(tmp_path / "x.safetensors", tmp_path / "folder", "diffusers")
    theirs = AutoencoderKLFlux2.from_pretrained(tmp_path / "folder")
    assert_same(load(tmp_path / "x.safetensors"), theirs)
    assert flux2_vae.normalization is not None
    mean = torch.tensor(flux2_vae.normalization.shift, dtype=torch.float64)
    torch.testing.assert_close(theirs.bn.running_mean, mean, **CLOSE)


def test_a_vector_quantized_one(random_vae: RandomVAE, tmp_path: Path) -> None:
    from diffusers import VQModel

    config = VQConfig(**dataclasses.asdict(kl(4, True)), codes=64)
    save(random_vae(config, LatentNormalization()), tmp_path / "x.safetensors", "ldm")
    convert(tmp_path / "x.safetensors", tmp_path / "folder", "diffusers")
    ours, theirs, x = load(tmp_path / "folder").double(), VQModel.from_pretrained(tmp_path / "folder"), images()
    theirs = theirs.eval().double()
    with torch.no_grad():
        latents = theirs.encode(x).latents
        assert ours.encoder is not None
        torch.testing.assert_close(ours.encoder(x), latents, **CLOSE)
        torch.testing.assert_close(ours.decode(ours.encode(x).mean), theirs.decode(latents).sample, **CLOSE)


def test_a_tiny_one(random_vae: RandomVAE, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    config = TinyConfig(3, 4, (), (16,) * 4, (16,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False)
    save(random_vae(config, LatentNormalization()), tmp_path / "taesd", "tiny")
    convert(tmp_path / "taesd", tmp_path / "folder", "diffusers")
    ours, x = load(tmp_path / "taesd").double(), images()
    theirs = AutoencoderTiny.from_pretrained(tmp_path / "folder").eval().double()
    with torch.no_grad():
        latents = theirs.encode(x).latents
        torch.testing.assert_close(ours.encode(x).mean, latents, **CLOSE)
        torch.testing.assert_close(ours.decode(latents), theirs.decode(latents).sample, **CLOSE)
