"""`tasks.interpolate`: files, ends, the ghost index, and bad options."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusals import refuses

from vaekit.domains.images.read import read_image
from vaekit.errors import BadItem, BadPlan, CannotWrite, MissingPackage, TooLittleMemory
from vaekit.tasks.interpolate import GhostMeter, InterpolationOptions, interpolate
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, LatentOptions, ModelOptions
from vaekit.tasks.traverse import TraverseOptions, traverse

SMALL = InterpolationOptions(steps=2)


def pair(images: Path) -> list[Path]:
    (images / "broken.png").unlink()
    return [images]


def test_a_strip_an_animation_and_a_record(model: OpenModel, images: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    result = interpolate(model, pair(images), tmp_path / "out", SMALL, lambda *counts: calls.append(counts))
    assert [path.name for path in result.files] == [f"interpolation.{end}" for end in ("png", "webp", "json")]
    assert (result.items, result.ends, calls) == (4, ("0.png", "1.png"), [(i, 4) for i in range(1, 5)])
    with Image.open(result.files[0]) as strip, Image.open(result.files[1]) as animation:
        assert strip.size == (4 * 63, 53)
        assert (animation.size, animation.is_animated) == ((63, 53), True)  # type: ignore[attr-defined]
    record = json.loads(result.files[2].read_text("utf-8"))
    assert record["files"] == [str(images / name) for name in ("0.png", "1.png")]
    assert record["ends"] == ["0.png", "1.png"] and record["vae"]["fingerprint"] == model.origin.fingerprint


def test_the_ends_of_a_strip_are_the_reconstructions(model: OpenModel, images: Path, tmp_path: Path) -> None:
    result = interpolate(model, pair(images), tmp_path, SMALL)
    strip = read_image(result.files[0]).pixels
    for place, name in ((slice(0, 63), "0.png"), (slice(-63, None), "1.png")):
        expected = model.engine.reconstruct(read_image(images / name).pixels).clamp(-1, 1)
        torch.testing.assert_close(strip[..., place], expected, rtol=0, atol=1 / 255)


def test_samples_of_the_posterior_follow_from_the_seed(model: OpenModel, images: Path, tmp_path: Path) -> None:
    pair(images)

    def strip(name: str, *latents: object) -> bytes:
        options = replace(SMALL, latents=LatentOptions(*latents))  # type: ignore[arg-type]
        return interpolate(model, [images], tmp_path / name, options).files[0].read_bytes()

    assert strip("a", True, 1) == strip("b", True, 1)
    assert len({strip("a", True, 1), strip("c", True, 2), strip("d")}) == 3


def test_images_of_another_size_follow_the_first(model: OpenModel, images: Path, tmp_path: Path) -> None:
    pair(images)
    with Image.open(images / "1.png") as image:
        image.resize((200, 90)).save(images / "1.png")
    result = interpolate(model, [images], tmp_path, SMALL)
    assert result.notes == ("1.png: resized and cropped to 63x53",)


def test_a_cross_fade_is_called_one(model: OpenModel, images: Path, tmp_path: Path) -> None:
    result = interpolate(model, pair(images), tmp_path, replace(SMALL, steps=3))
    (ghost,) = result.ghosts
    assert result.cross_fades == (ghost < 0.25)


def test_one_image_alone_is_refused(model: OpenModel, images: Path, tmp_path: Path) -> None:
    with refuses(BadItem, "0.png"):
        interpolate(model, [images / "0.png"], tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (replace(SMALL, path="geodesic"), BadPlan),
        (replace(SMALL, steps=10**9), BadPlan),
        (replace(SMALL, steps=-1), BadPlan),
        (replace(SMALL, animation="avi"), CannotWrite),
        (replace(SMALL, ordered=True), BadPlan),
    ],
)
def test_bad_options_are_refused_before_anything_is_run(
    model: OpenModel, images: Path, tmp_path: Path, options: InterpolationOptions, error: type[Exception]
) -> None:
    with pytest.raises(error):
        interpolate(model, [images], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_items_that_do_not_fit_into_memory_are_refused_before_they_are_decoded(
    vae_file: Path, images: Path, tmp_path: Path
) -> None:
    model = open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu", memory="40MiB"))
    with refuses(TooLittleMemory, "10,001", "--memory") as caught:
        interpolate(model, pair(images), tmp_path / "out", replace(SMALL, steps=9999))
    assert caught.value.least == 2 * 10_001 * 3 * 63 * 53  # type: ignore[attr-defined]
    options = TraverseOptions(axes=(0, 1, 2), steps=1000)
    with refuses(TooLittleMemory, "3,000", "--memory"):
        traverse(model, images / "0.png", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_every_part_of_a_path_has_its_ghost_index() -> None:
    meter = GhostMeter(2)
    for value in (0.0, 1.0, 4.0, 6.0, 8.0):
        meter.add(torch.full((1, 3, 2, 2), value))
    assert meter.indices == [0.25, 0.0]
    for decoded in (torch.zeros(1, 3), torch.zeros(1, 3, 2, 2, dtype=torch.long)):
        other = GhostMeter(2)
        for _ in range(3):
            other.add(decoded)
        assert other.indices == []


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_a_linear_blend_has_the_ghost_index_0_for_every_number_of_points(steps: int) -> None:
    meter = GhostMeter(steps + 1)
    for value in torch.linspace(0, 1, steps + 2):
        meter.add(torch.full((1, 3, 2, 2), value.item()))
    assert meter.indices == [pytest.approx(0, abs=1e-6)]


def test_equal_neighbors_keep_their_place_among_the_ghost_indices(
    model: OpenModel, images: Path, tmp_path: Path
) -> None:
    pair(images)
    first, second = images / "0.png", images / "1.png"
    shutil.copy(first, images / "copy.png")
    result = interpolate(model, [first, images / "copy.png", second], tmp_path, SMALL)
    assert result.ghosts[0] is None and result.ghosts[1] is not None
    assert not interpolate(model, [first, images / "copy.png"], tmp_path, SMALL).cross_fades


@pytest.mark.parametrize("animation", ["gif", "mp4"])
def test_other_animations(model: OpenModel, images: Path, tmp_path: Path, animation: str) -> None:
    try:
        result = interpolate(model, pair(images), tmp_path, replace(SMALL, animation=animation))
    except MissingPackage as error:
        pytest.skip(str(error))
    assert result.files[1].suffix == f".{animation}"
    assert result.files[1].stat().st_size > 100
