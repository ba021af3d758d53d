"""`tasks.edit`: strength 0 is a reconstruction, there and back, several strengths and directions, and bad input."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusals import refuses

from vaekit.checkpoints.direction_files import DirectionFile, load_direction, save_direction
from vaekit.domains.images.read import read_image
from vaekit.errors import BadDirection, BadPlan, CannotWrite, LatentMismatch, NotFound
from vaekit.latents.directions import Direction
from vaekit.tasks.edit import edit, moved
from vaekit.tasks.model import OpenModel
from vaekit.tasks.reconstruct import reconstruct


def planted(model: OpenModel, path: Path, shape: tuple[int, ...] = (4,), seed: int = 0) -> Path:
    """A direction of a VAE with random values."""
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    direction = Direction(path.stem, vector / vector.norm(), 0.5)
    save_direction(path, DirectionFile(direction, vector, model.origin, {}))
    return path


@pytest.fixture
def one(model: OpenModel, tmp_path: Path) -> Path:
    return planted(model, tmp_path / "one.safetensors")


def with_alpha(images: Path) -> Path:
    """One of the images as RGBA, whose opacity is kept."""
    with Image.open(images / "1.png") as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(images / "1.png")
    return images / "1.png"


def test_strength_0_is_a_reconstruction(model: OpenModel, images: Path, one: Path, tmp_path: Path) -> None:
    (images / "broken.png").unlink()
    with_alpha(images)
    plain = reconstruct(model, [images], tmp_path / "plain", side_by_side=True)
    result = edit(model, [images], [one], [[0.0]], tmp_path / "edited", side_by_side=True)
    for before, after in zip(plain.results, result.batch.results, strict=True):
        assert after.output.name == before.output.name
        assert after.output.read_bytes() == before.output.read_bytes()
    for name in ("0.side-by-side.png", "1.side-by-side.png"):
        assert (tmp_path / "edited" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert not result.strips and result.record == tmp_path / "edited" / "edit.json"


def test_there_and_back_ends_where_it_began(model: OpenModel, one: Path) -> None:
    direction = load_direction(one).direction
    z = model.engine.encode(torch.rand(2, 3, 16, 24) * 2 - 1).mode
    ahead = moved([direction], [3.0], z)
    assert (ahead - z).abs().max() > 0.1
    torch.testing.assert_close(moved([direction], [-3.0], ahead), z)
    assert moved([direction, direction], [0.0, 0.0], z) is z


def test_an_edit_is_the_decoded_move(model: OpenModel, images: Path, one: Path, tmp_path: Path) -> None:
    two = planted(model, tmp_path / "two.safetensors", seed=1)
    result = edit(model, [images / "0.png"], [one, two], [[1.5], [-2]], tmp_path / "out")
    pixels = read_image(images / "0.png").pixels
    z = moved([load_direction(path).direction for path in (one, two)], [1.5, -2.0], model.engine.encode(pixels).mode)
    expected = model.engine.decode(z, (53, 63)).clamp(-1, 1)
    found = read_image(result.batch.results[0].output).pixels
    torch.testing.assert_close(found, expected, rtol=0, atol=1 / 255)
    record = json.loads(result.record.read_text("utf-8"))
    assert record["steps"] == [[1.5, -2]] and [each["name"] for each in record["directions"]] == ["one", "two"]
    assert record["vae"]["dtype"] == "fp32"
    assert record["vae"]["fingerprint"] == model.origin.fingerprint and len(record["directions"][0]["sha256"]) == 64


def test_several_strengths_give_files_and_a_strip(model: OpenModel, images: Path, one: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    paths = [images / "0.png", with_alpha(images)]
    result = edit(model, paths, [one], [[-1, 0, 0.5]], tmp_path / "out", progress=lambda *counts: calls.append(counts))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    edits = {f"{name}.{strength}.png" for name in "01" for strength in ("-1", "+0", "+0.5")}
    assert names == {*edits, "edit.json", *(f"{name}.strip.{end}" for name in "01" for end in ("png", "webp"))}
    assert calls == [(i, 6) for i in range(1, 7)] and len(result.strips) == 4
    strip = read_image(tmp_path / "out" / "0.strip.png").pixels
    assert strip.shape == (1, 3, 53, 3 * 63)
    assert torch.equal(strip[..., 63:126], read_image(tmp_path / "out" / "0.+0.png").pixels)


def test_a_broken_file_is_told_once_and_the_others_are_edited(
    model: OpenModel, images: Path, one: Path, tmp_path: Path
) -> None:
    result = edit(model, [images], [one], [[1, 2]], tmp_path / "out")
    assert [Path(each.path).name for each in result.batch.failures] == ["broken.png"]
    assert len(result.batch.results) == 4 and not result.batch.complete


def test_maps_need_their_positions(model: OpenModel, images: Path, tmp_path: Path) -> None:
    path = planted(model, tmp_path / "map.safetensors", (4, 14, 16))
    assert edit(model, [images / "0.png"], [path], [[1]], tmp_path / "out").batch.complete
    with Image.open(images / "0.png") as image:
        image.crop((0, 0, 40, 40)).save(images / "0.png")
    (failure,) = edit(model, [images / "0.png"], [path], [[1]], tmp_path / "out").batch.failures
    assert "[10, 10]" in failure.error and "[14, 16]" in failure.error


@pytest.mark.parametrize(
    ("strengths", "named"),
    [
        ([], ["1", "0"]),
        ([[1], [2]], ["1", "2"]),
        ([[]], ["1"]),
        ([[1001]], ["1001"]),
        ([[0, float("nan")]], ["nan"]),
        ([[float("-inf")]], ["inf"]),
        ([list(range(101))], ["101", "100"]),
    ],
)
def test_bad_strengths_are_refused(
    model: OpenModel, images: Path, one: Path, tmp_path: Path, strengths: Sequence[Sequence[float]], named: list[str]
) -> None:
    with refuses(BadPlan, *named):
        edit(model, [images], [one], strengths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lists_of_different_lengths_are_refused(model: OpenModel, images: Path, one: Path, tmp_path: Path) -> None:
    with refuses(BadPlan, "2", "3"):
        edit(model, [images], [one, one], [[1, 2], [1, 2, 3]], tmp_path / "out")


def test_bad_directions_are_refused(model: OpenModel, images: Path, one: Path, tmp_path: Path) -> None:
    with refuses(NotFound, "none"):
        edit(model, [images], [tmp_path / "none"], [[1]], tmp_path / "out")
    with refuses(BadDirection, "0.png"):
        edit(model, [images], [images / "0.png"], [[1]], tmp_path / "out")
    file = load_direction(one)
    other = type(file.space)("cd" * 32, file.space.family, file.space.geometry, file.space.normalization)
    save_direction(one, DirectionFile(file.direction, file.probe, other, {}))
    with refuses(LatentMismatch, one, "cdcdcdcdcd"):
        edit(model, [images], [one], [[1]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_overwritten(model: OpenModel, images: Path, one: Path) -> None:
    with refuses(CannotWrite, "0.png"):
        edit(model, [images / "0.png"], [one], [[1]], images)
