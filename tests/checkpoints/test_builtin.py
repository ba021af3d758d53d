"""The VAE inside the package: small, known by its weights, and as good as its card says."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vaekit.checkpoints.cards import card_named
from vaekit.checkpoints.inspecting import inspect
from vaekit.checkpoints.loading import load
from vaekit.checkpoints.saving import save
from vaekit.domains.images.reading import find_pictures, read_picture
from vaekit.domains.images.roundtrip import as_written
from vaekit.metrics.colour import colour_shift
from vaekit.metrics.lpips import LPIPS
from vaekit.metrics.psnr import psnr
from vaekit.runtime.engine import Engine


def test_it_is_small_enough_for_a_wheel() -> None:
    assert Path(str(files("vaekit.checkpoints") / "builtin.safetensors")).stat().st_size <= 8_000_000


def test_it_has_what_later_rooms_are_about() -> None:
    seen = inspect("builtin")
    assert (seen.factor, seen.latent_channels, seen.compression) == (8, 4, 48)
    assert seen.config["mid_attention"]
    assert seen.config["quant_conv"]
    assert seen.frame is not None
    assert seen.problems == ()


def test_a_converted_copy_is_recognised_by_its_weights(tmp_path: Path) -> None:
    save(load("builtin"), tmp_path / "copy.safetensors", "ldm")
    assert inspect(tmp_path / "copy.safetensors").card == card_named("builtin")


def test_the_frame_gives_latents_of_unit_size(shared_data: Path) -> None:
    vae = load("builtin")
    assert vae.frame is not None
    engine = Engine(vae)
    pictures = find_pictures([shared_data / "images" / "kodak"])[:4]
    latents = [vae.frame.normalise(engine.encode(read_picture(path).pixels).mean).flatten() for path in pictures]
    std, mean = torch.std_mean(torch.cat(latents))
    assert 0.7 < std < 1.3
    assert abs(mean) < 0.5


@pytest.fixture(scope="module")
def scores(shared_data: Path) -> dict[str, float]:
    """Means over the 12 pictures, whole, in fp32, of 8-bit results."""
    engine = Engine(load("builtin"))
    lpips = LPIPS.from_tensors(load_file(shared_data / "perceptual" / "lpips_alex_full.safetensors"))
    rows = []
    for path in find_pictures([shared_data / "images" / "kodak"]):
        x = read_picture(path).pixels
        y = as_written(engine.reconstruct(x))
        rows.append(torch.cat([psnr(x, y), lpips(x, y), colour_shift(x, y)[0]]))
    assert len(rows) == 12
    means = torch.stack(rows).mean(dim=0).tolist()
    return dict(zip(("psnr", "lpips", "red", "green", "blue"), means, strict=True))


def test_kodak_is_better_than_the_bar(scores: dict[str, float]) -> None:
    assert scores["psnr"] >= 23.5


def test_there_is_no_colour_cast(scores: dict[str, float]) -> None:
    assert max(abs(scores[channel]) for channel in ("red", "green", "blue")) < 1.5


def test_the_card_tells_the_measured_numbers(scores: dict[str, float]) -> None:
    card = card_named("builtin")
    assert card is not None
    assert f"PSNR {scores['psnr']:.2f} dB" in card.measured
    assert f"LPIPS(alex) {scores['lpips']:.3f}" in card.measured
