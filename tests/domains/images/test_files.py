"""Image files through an engine and back: overlapped or one by one, the same files and the same numbers."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.comparison.candidates import VAECandidate
from vaekit.domains.images.files import DecodedImage, RoundTrip, as_written, pixel_count, round_trip_stages
from vaekit.domains.images.read import LoadedImage, read_image
from vaekit.domains.images.write import srgb_profile, to_bytes
from vaekit.errors import VaekitError
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.wan.net import WanConfig
from vaekit.metrics.image.psnr import psnr
from vaekit.pipeline import Stages, run_pipeline
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.testcards.dead_leaves import dead_leaves

CPU = Plan(device="cpu")


def tiny(channels: int) -> Engine:
    torch.manual_seed(0)
    config = TinyConfig(channels, 4, (), (8, 8), (8, 8), (1, 1), (1, 1), False)
    return Engine(assemble(family_of("tiny"), config).eval(), CPU)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of many kinds and sizes, and two files that are none."""
    generator = torch.Generator().manual_seed(0)
    for number, size in enumerate([(40, 33), (16, 16), (70, 50), (31, 64), (48, 48), (90, 20)]):
        image = Image.fromarray(to_bytes(dead_leaves(1, size, generator)))
        if number == 1:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        facts = {"icc_profile": srgb_profile()} if number == 2 else {}
        gray = image.convert("L") if number == 3 else image
        gray.save(tmp_path / f"{number}.{'png' if number % 2 else 'webp'}", lossless=True, **facts)
    Image.fromarray((np.arange(400, dtype=np.uint16) * 160).reshape(20, 20)).save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes()[:90])
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


Trips = Stages[Path, LoadedImage, DecodedImage, RoundTrip]


def one_by_one(paths: list[Path], steps: Trips) -> Iterator[RoundTrip | str]:
    for path in paths:
        try:
            yield replace(steps(path), seconds=0.0)
        except VaekitError as error:
            yield str(error)


def at_once(paths: list[Path], steps: Trips) -> Iterator[RoundTrip | str]:
    for outcome in run_pipeline(paths, steps, VaekitError, max_weight=5000):
        yield str(outcome.error) if outcome.done is None else replace(outcome.done, seconds=0.0)


@pytest.mark.parametrize("channels", [3, 1])
def test_overlapped_is_one_by_one_bit_for_bit(folder: Path, channels: int) -> None:
    engine, paths = tiny(channels), sorted(folder.iterdir())
    told, both, out = [], [], folder.parent / f"out-{channels}"
    for way in (one_by_one, at_once):
        told.append(
            list(way(paths, round_trip_stages(engine, {path: out / f"{path.name}.png" for path in paths}, True)))
        )
        both.append({path.name: path.read_bytes() for path in out.iterdir()})
        shutil.rmtree(out)
    assert told[0] == told[1]
    assert sum(isinstance(one, str) for one in told[0]) == 2
    assert both[0] == both[1]
    assert len(both[0]) == 2 * 7


def test_as_written_is_what_a_file_gives_back(tmp_path: Path) -> None:
    pixels = torch.randn(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    Image.fromarray(to_bytes(pixels)).save(tmp_path / "x.png")
    assert torch.equal(as_written(pixels), read_image(tmp_path / "x.png").pixels)


def test_a_image_weighs_its_pixels() -> None:
    assert pixel_count(LoadedImage(torch.zeros(1, 3, 7, 9))) == 63


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_images_of_a_decoder_that_upscales_are_larger_and_measured_at_their_size(mode: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = WanConfig(3, 4, (8, 16), (16, 8), 1, 2, (), False, upscale=2)
    engine = Engine(assemble(family_of("wan"), config).eval(), CPU)
    image = Image.fromarray(to_bytes(dead_leaves(1, (24, 17), torch.Generator().manual_seed(0))))
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "x.png")
    trip = round_trip_stages(engine, {tmp_path / "x.png": tmp_path / "y.png"}, True)(tmp_path / "x.png")
    with Image.open(tmp_path / "y.png") as written:
        assert (written.size, written.mode) == ((34, 48), mode)
    pixels = read_image(tmp_path / "x.png").pixels
    expected = torch.nn.functional.avg_pool2d(as_written(engine.decode(engine.encode(pixels).mode, (24, 17))), 2)
    assert trip.psnr == pytest.approx(psnr(as_written(pixels), expected).item())
    assert any("2" in note for note in trip.notes)
    assert engine.reconstruct(pixels).shape == pixels.shape
    candidate = VAECandidate("up", engine)
    assert candidate.round_trip(pixels).shape == pixels.shape
    assert len(candidate.warnings) == 1
