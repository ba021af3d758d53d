import errno
import io
import itertools
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import encoded, fill_folder, numbered, write_tar
from PIL import Image
from refusals import refuses
from torch import Tensor

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.lazy import LazyImages
from vaekit.domains.images.preparation import Preparation, preparation_from
from vaekit.domains.images.read import opened as decodable
from vaekit.domains.images.training_data import TrainingData, available_cores, open_training_data
from vaekit.errors import BadRecipe, NoTrainingData
from vaekit.training.data import Stream, Tensors, ahead


def opened(path: Path, skipped: SkipLog | None = None, **table: Any) -> TrainingData:
    return open_training_data(path, preparation_from({"size": 8, **table}), 5, skipped)


def greens(batch: Tensor) -> list[int]:
    """The numbers of images made by `numbered`."""
    return [round((shade + 1) * 127.5 / 10) for shade in batch[:, 1, 0, 0].tolist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill_folder(tmp_path / "images", {f"{i % 3}/{i}.png": i for i in range(10)})


@pytest.mark.parametrize(
    "table",
    [{}, {"resize": [8, 16], "flip": True, "crop": "busier"}, {"channels": 1, "binary": "dynamic"}, {"channels": 4}],
    ids=["plain", "all of it", "binary", "opacity"],
)
def test_a_batch_follows_from_seed_and_position(folder: Path, table: Mapping[str, Any]) -> None:
    noise = np.random.default_rng(0)
    for i in range(10, 14):
        Image.fromarray(noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"not an image")

    def batches(start: int, workers: int) -> list[Tensor]:
        stream = Stream(opened(folder, **table).source, 1)
        return list(ahead(stream, range(start, 40, 4), 4, workers))

    whole = batches(0, 0)
    assert all(batch.shape == (4, table.get("channels", 3), 8, 8) for batch in whole)
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in whole)
    assert all(batch.abs().max() <= 1 for batch in whole)
    for start, workers in itertools.product((0, 12), (0, 1, 3)):
        assert all(map(torch.equal, batches(start, workers), whole[start // 4 :]))


def test_an_epoch_shows_every_image(folder: Path) -> None:
    stream = Stream(opened(folder).source, 0)
    assert sorted(greens(stream.batch(0, 10))) == sorted(greens(stream.batch(10, 10))) == list(range(10))


def test_what_is_broken_is_replaced_and_listed_once(folder: Path, tmp_path: Path) -> None:
    (folder / "cut.png").write_bytes(encoded(11)[:45])
    (folder / "empty.jpg").touch()
    said: list[str] = []
    listed = tmp_path / "run" / "skipped.txt"
    stream = Stream(opened(folder, SkipLog(listed, said.append)).source, 0)
    assert not listed.exists()  # until a run begins
    batch = stream.batch(0, 12)
    assert set(greens(batch)) == set(range(10))
    stream.batch(12, 12)
    again = Stream(opened(folder, SkipLog(listed, said.append)).source, 0)
    assert torch.equal(again.batch(0, 12), batch)
    names = [line.partition("\t")[0] for line in listed.read_text().splitlines()]
    assert sorted(names) == ["cut.png", "empty.jpg"]
    assert len(said) == 2 and "skipped.txt" in said[0]


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_names_need_not_be_utf8(tmp_path: Path, kind: str) -> None:
    named = {os.fsdecode(f"caf{chr(233)}{i}.png".encode("latin-1")): encoded(i) for i in range(20)}
    named[os.fsdecode(b"\xff.png")] = b"not an image"
    if kind == "tar":
        write_tar(tmp_path / "data" / "a.tar", named)
    else:
        (tmp_path / "data").mkdir()
        for name, content in named.items():
            (tmp_path / "data" / name).write_bytes(content)
    skipped = SkipLog(tmp_path / "skipped.txt")
    data = opened(tmp_path / "data", skipped, held_out=5)
    trained = greens(Stream(data.source, 0).batch(0, len(data.source)))
    assert data.held_out is not None and set(greens(data.held_out)) | set(trained) == set(range(20))
    skipped.write()
    assert (tmp_path / "skipped.txt").read_text("utf-8").strip()


def test_a_good_image_is_not_left_out_for_a_broken_one_of_its_name(tmp_path: Path) -> None:
    sound = {f"{i}.png": encoded(i) for i in range(10)}
    write_tar(tmp_path / "a" / "0.tar", {**sound, "3.png": b"broken"})
    write_tar(tmp_path / "b" / "0.tar", sound)
    with tarfile.open(tmp_path / "b" / "0.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("5.png"))
    skipped = SkipLog()
    data = opened(tmp_path, skipped, held_out=0)
    whole = Stream(data.source, 0)
    seen = [greens(whole.batch(place, 1)) for place in range(21)]
    assert [number for (number,) in seen].count(5) >= 2
    for place in range(21):  # whatever was met before, as after a restart
        assert greens(Stream(opened(tmp_path, held_out=0).source, 0).batch(place, 1)) == seen[place]
        assert greens(whole.batch(place, 1)) == seen[place]
    assert set(skipped.reasons) == {"a/0.tar/3.png", "b/0.tar/5.png"}


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], None]:
    """So many times from now on, opening 3.png gives this error."""
    monkeypatch.setattr("vaekit.datasets.read_errors.PAUSES", (0.0, 0.0, 0.0))
    errors: list[Exception] = []

    def guarded(file: io.BufferedReader) -> Image.Image:
        if str(file.name).endswith("3.png") and errors:
            raise errors.pop()
        return decodable(file)

    def begin(count: int, error: Exception) -> None:
        errors[:] = [error] * count

    monkeypatch.setattr("vaekit.domains.images.decode.opened", guarded)
    return begin


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "x"), MemoryError()])
def test_an_outage_leaves_no_image_out(
    folder: Path, outage: Callable[[int, Exception], None], error: Exception
) -> None:
    (folder / "0" / "3.png").rename(folder / "3.png")
    skipped = SkipLog()
    data = opened(folder, skipped, held_out=0)
    whole = Stream(data.source, 0).batch(0, 10)
    outage(3, error)
    assert torch.equal(Stream(data.source, 0).batch(0, 10), whole) and not skipped.reasons
    outage(3, error)
    held_out = opened(folder, skipped, held_out=9).held_out
    assert held_out is not None and len(held_out) == 9 and not skipped.reasons
    outage(1000, error)
    if isinstance(error, MemoryError):
        Stream(data.source, 0).batch(0, 10)
        assert set(skipped.reasons) == {"3.png"}
        return
    with refuses(NoTrainingData, "3.png"):
        Stream(data.source, 0).batch(0, 10)
    assert not skipped.reasons
    outage(0, error)
    assert torch.equal(Stream(data.source, 0).batch(0, 10), whole)


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    for i in range(50):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    stream = Stream(opened(tmp_path, held_out=0).source, 0)
    for workers in (0, 2):
        with refuses(NoTrainingData, "50"):
            list(ahead(stream, [0, 4], 4, workers))


def test_empty_folders_and_single_images(tmp_path: Path) -> None:
    with pytest.raises(NoTrainingData):
        opened(tmp_path)
    said: list[str] = []
    fill_folder(tmp_path, {"3.png": 3})
    data = opened(tmp_path, SkipLog(say=said.append))
    assert data.held_out is None and len(said) == 1
    assert greens(Stream(data.source, 0).batch(0, 4)) == [3, 3, 3, 3]


def test_a_link_to_itself_for_data(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with refuses(NoTrainingData, "loop"):
        opened(tmp_path / "loop", SkipLog(tmp_path / "run" / "skipped.txt"))


def test_tiny_and_extreme_images_are_enlarged(tmp_path: Path) -> None:
    for width, height in ((1, 1), (1, 3000), (3000, 2), (7, 7)):
        numbered(4, width, height).save(tmp_path / f"{width}x{height}.png")
    said: list[str] = []
    skipped = SkipLog(say=said.append)
    data = opened(tmp_path, skipped, resize=[0])
    batch = Stream(data.source, 0).batch(0, 4)
    assert greens(batch) == [4] * 4 and (batch == batch[:, :, :1, :1]).all()
    assert len(said) == 1 and "enlarged" in said[0]


def test_images_too_large_to_decode_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.images.read.LARGEST_IMAGE", 1000)
    numbered(1).save(tmp_path / "1.png")
    numbered(2, 100, 100).save(tmp_path / "2.png")
    skipped = SkipLog()
    assert greens(Stream(opened(tmp_path, skipped).source, 0).batch(0, 2)) == [1, 1]
    assert "1,000 pixels" in skipped.reasons["2.png"]


def test_held_out_images_are_never_trained_on(tmp_path: Path) -> None:
    folder = fill_folder(tmp_path, {f"{i}.png": i for i in range(25)})
    for wanted, count in ((None, 1), (7, 7), (0.2, 5), (0, 0)):
        data = opened(folder, **({} if wanted is None else {"held_out": wanted}))
        apart = [] if data.held_out is None else greens(data.held_out)
        trained = greens(Stream(data.source, 0).batch(0, len(data.source)))
        assert len(apart) == count and sorted(apart + trained) == list(range(25))
    assert data.description["held_out"] == 0
    again = open_training_data(folder, Preparation(8, held_out=7.0), 99)
    first = opened(folder, held_out=7.0)
    assert again.held_out is not None and first.held_out is not None
    assert torch.equal(again.held_out, first.held_out)  # for every seed
    with pytest.raises(NoTrainingData):
        opened(folder, held_out=25)


def test_of_a_part_for_tests_some_of_all_kinds_are_held_out(tmp_path: Path) -> None:
    fill_folder(tmp_path, {f"test/{i // 5}/{i}.png": i for i in range(25)} | {"train/0.png": 0})
    held_out = opened(tmp_path, held_out=10).held_out
    assert held_out is not None and len({number // 5 for number in greens(held_out)}) >= 4


def test_images_of_one_name_are_held_out_one_by_one(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(20):
            info = tarfile.TarInfo("x.png")
            info.size = len(encoded(i))
            tar.addfile(info, io.BytesIO(encoded(i)))
    data = opened(tmp_path, held_out=5)
    assert data.held_out is not None and len(set(greens(data.held_out))) == 5 and len(data.source) == 15


def test_broken_images_are_not_held_out(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(encoded(i) if i % 2 else b"")
    data = opened(tmp_path, held_out=9)
    assert data.held_out is not None and set(greens(data.held_out)) <= {1, 3, 5, 7, 9}


def test_kinds_of_data_read_as_they_need(tmp_path: Path, folder: Path) -> None:
    assert isinstance(opened(folder).source, LazyImages) and opened(folder).workers == available_cores()
    tar = write_tar(tmp_path / "a.tar", {f"{i}.png": encoded(i) for i in range(10)})
    assert sorted(greens(Stream(opened(tar).source, 0).batch(0, 10))) == list(range(10))
    values = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", values)
    mapped, loaded = opened(tmp_path / "a.npy", held_out=0), opened(tmp_path / "a.npz", held_out=0)
    assert isinstance(mapped.source, LazyImages) and isinstance(loaded.source, Tensors) and loaded.workers == 0
    expected = torch.from_numpy(values).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    for data in (mapped, loaded):
        stream = Stream(data.source, 0)
        assert torch.equal(stream.batch(0, 30), expected[stream.items(0, 30)])
    assert mapped.description["kind"] == "array"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.linspace(0, 1, 64), -1, 1),
        (np.linspace(-1, 1, 64), -1, 1),
        (np.linspace(-0.5, 0.5, 64), -0.5, 0.5),
        (np.linspace(0, 255, 64), -1, 1),
        (np.arange(0, 256, 4), -1, 252 / 127.5 - 1),
        (np.arange(64).astype(np.uint16) * 1040, -1, 63 * 1040 / 32767.5 - 1),
        (np.arange(64) % 2 == 1, -1, 1),
        (np.linspace(0, 1, 64).astype(np.float16), -1, 1),
    ],
    ids=["unit", "signed", "narrow", "levels", "whole", "sixteen bits", "black or white", "half"],
)
def test_how_numbers_are_taken(tmp_path: Path, values: np.ndarray, low: float, high: float) -> None:
    np.savez(tmp_path / "a.npz", np.stack([values.reshape(8, 8)] * 3))
    batch = Stream(opened(tmp_path / "a.npz", channels=1).source, 0).batch(0, 3)
    assert batch.shape == (3, 1, 8, 8) and batch.dtype == torch.float32
    assert batch.min().item() == pytest.approx(low, abs=1e-3) and batch.max().item() == pytest.approx(high, abs=1e-3)


def test_numbers_that_cannot_be_images(tmp_path: Path) -> None:
    for values, facts in (
        (np.full((3, 8, 8), 300.0), ["300"]),
        (np.full((3, 8, 8), -5), ["-5"]),
        (np.full((3, 8, 8), np.nan), ["nan"]),
        (np.zeros((3, 8, 8, 5)), []),
        (np.zeros((0, 8, 8)), []),
        (np.zeros((3, 8, 8), complex), ["complex128"]),
    ):
        np.savez(tmp_path / "a.npz", values)
        with refuses(NoTrainingData, *facts):
            opened(tmp_path / "a.npz")


@pytest.mark.parametrize("size", [8, 6])
def test_items_with_values_that_are_not_finite_are_left_out(tmp_path: Path, size: int) -> None:
    values = np.random.default_rng(0).random((12, 8, 8)).astype(np.float32)
    values[3, 2, 2], values[7, 0, 0] = np.nan, np.inf
    np.savez(tmp_path / "a.npz", values)
    np.save(tmp_path / "a.npy", values)
    for name in ("a.npz", "a.npy"):
        skipped = SkipLog()
        data = opened(tmp_path / name, skipped, channels=1, size=size)
        batch = Stream(data.source, 0).batch(0, 24)
        assert batch.isfinite().all() and set(skipped.reasons) == {f"{name}[3]", f"{name}[7]"}


def test_static_images_stay_and_dynamic_ones_change(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "a.npz", np.full((20, 8, 8), 128, np.uint8))
    for path, channels in ((tmp_path / "a.npz", 1), (folder, 3)):
        for binary in ("static", "dynamic"):
            stream = Stream(opened(path, channels=channels, binary=binary, held_out=0).source, 0)
            count = len(stream.source)
            first, second = (stream.batch(start, count)[stream.items(start, count).argsort()] for start in (0, count))
            assert set(first.unique().tolist()) == {-1, 1}
            assert torch.equal(first, second) == (binary == "static")


def test_flips_of_arrays(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", values)
    batch = Stream(opened(tmp_path / "a.npz", channels=1, flip=True).source, 0).batch(0, 40)
    straight = torch.from_numpy(values).float().div(127.5).sub(1)
    mirrored = [torch.equal(each, straight.flip(-1)) for each in batch]
    assert 5 < sum(mirrored) < 35 and all(
        torch.equal(each, straight) != m for each, m in zip(batch, mirrored, strict=True)
    )


def test_a_large_array_is_prepared_when_its_turn_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8))
    now = opened(tmp_path / "a.npz", size=4, channels=1)
    monkeypatch.setattr("vaekit.domains.images.training_data.IN_MEMORY", 100)
    later = opened(tmp_path / "a.npz", size=4, channels=1)
    assert isinstance(now.source, Tensors) and isinstance(later.source, LazyImages)
    assert torch.equal(Stream(now.source, 0).batch(0, 9), Stream(later.source, 0).batch(0, 9))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"size": 0}, ["size"]),
        ({"channels": 2}, ["1", "3", "4"]),
        ({"crop": "left"}, ["random", "center", "busier"]),
        ({"binary": "yes"}, ["dynamic", "static"]),
        ({"resize": [4]}, ["resize", "8"]),
        ({"held_out": -1}, ["held_out"]),
        ({"background": "nocolor"}, ["nocolor"]),
        ({"sise": 8}, ["sise"]),
        ({"flip": 1}, ["flip"]),
    ],
)
def test_tables_that_make_no_sense(folder: Path, change: Mapping[str, Any], facts: list[str]) -> None:
    with refuses(BadRecipe, *facts):
        opened(folder, **change)


def test_mnist_of_the_shared_data(shared_data: Path) -> None:
    data = open_training_data(shared_data / "images" / "mnist", Preparation(28, channels=1, binary="dynamic"), 0)
    assert data.held_out is not None and data.held_out.shape == (256, 1, 28, 28)
    assert len(data.source) == 60_000 and data.description["of_its_own"] and data.workers == 0


def test_large_images_count_more_where_that_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    preparation = Preparation(16, resize=(16, 32), held_out=0.0)
    assert len(open_training_data(tmp_path, preparation, 0).source) == 3
    by_area = open_training_data(tmp_path, replace(preparation, often="area"), 0)
    assert len(by_area.source) == 8 + 1 + 1, "32x64 in squares of 16, one small, and one that is replaced in its turn"
    assert by_area.source.batch(by_area.source.chosen * 0, 3).shape == (10, 3, 16, 16)  # type: ignore[attr-defined]
