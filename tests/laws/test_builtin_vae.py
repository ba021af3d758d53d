"""The VAE inside the package: small, known by its weights, and as good as its entry says."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vaekit.catalog.entries import entry_named
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.domains.images.files import as_written
from vaekit.domains.images.read import find_images, read_image
from vaekit.library.inspect import inspect
from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.psnr import psnr
from vaekit.runtime.engine import Engine
from vaekit.vae import normalize


def test_it_is_small_enough_for_a_wheel() -> None:
    assert Path(str(files("vaekit.catalog") / "builtin.safetensors")).stat().st_size <= 8_000_000


def test_it_has_what_later_rooms_are_about() -> None:
    seen = inspect("builtin")
    assert (seen.factor, seen.latent_channels, seen.compression) == (8, 16, 12)
    assert seen.config["mid_attention"]
    assert seen.config["quant_conv"]
    assert seen.normalization is not None
    assert seen.problems == ()


def test_a_converted_copy_is_recognized_by_its_weights(tmp_path: Path) -> None:
    save(load("builtin"), tmp_path / "copy.safetensors", "ldm")
    assert inspect(tmp_path / "copy.safetensors").catalog_entry == entry_named("builtin")


@dataclass(frozen=True)
class Seen:
    """Kodak's 12 images, whole, in fp32."""

    latents: tuple[Tensor, ...]
    scores: dict[str, float]
    """Means over the 8-bit results."""


@pytest.fixture(scope="module")
def kodak(shared_data: Path) -> Seen:
    engine = Engine(load("builtin"))
    lpips = LPIPS.from_tensors(load_file(shared_data / "perceptual" / "lpips_alex_full.safetensors"))
    latents, rows = [], []
    for path in find_images([shared_data / "images" / "kodak"]):
        x = read_image(path).pixels
        latents.append(engine.encode(x).mode)
        y = as_written(engine.decode(latents[-1], (x.shape[2], x.shape[3])))
        rows.append(torch.cat([psnr(x, y), lpips(x, y), color_shift(x, y)[0]]))
    assert len(rows) == 12
    means = torch.stack(rows).mean(dim=0).tolist()
    return Seen(tuple(latents), dict(zip(("psnr", "lpips", "red", "green", "blue"), means, strict=True)))


def test_one_image_of_kodak_comes_back_as_before(shared_data: Path) -> None:
    x = read_image(find_images([shared_data / "images" / "kodak"])[1]).pixels
    y = as_written(Engine(load("builtin")).reconstruct(x))
    assert psnr(x, y).item() == pytest.approx(32.18, abs=0.02)


@pytest.mark.nightly
def test_kodak_comes_back_as_well_as_the_card_says(kodak: Seen) -> None:
    """One test, for the images take most of a minute: two processes would each have them through."""
    normalization, entry = load("builtin").normalization, entry_named("builtin")
    assert normalization is not None and entry is not None
    std, mean = torch.std_mean(torch.cat([normalize(latent, normalization).flatten() for latent in kodak.latents]))
    # The normalization is that of crops at many sizes: shrunk images have more in them than Kodak's at full size.
    assert 0.6 < std < 1.3
    assert abs(mean) < 0.5
    taesd = {"psnr": 24.83, "lpips": 0.112}
    assert kodak.scores["psnr"] > taesd["psnr"] + 3
    assert kodak.scores["lpips"] < taesd["lpips"] - 0.02
    assert max(abs(kodak.scores[channel]) for channel in ("red", "green", "blue")) < 1.5
    assert f"PSNR {kodak.scores['psnr']:.2f} dB" in entry.measured
    assert f"LPIPS(alex) {kodak.scores['lpips']:.3f}" in entry.measured
