import bz2
import gzip
import json
import os
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_data import encoded, fill_folder, number_of, open_images, pixels_at, write_tar
from refusals import lacks, refuses

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.listing import files_below
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.tars import expanded, members
from vaekit.domains.images.read import IMAGE_ENDINGS
from vaekit.errors import BadItem, NotFound, NoTrainingData


def numbers(images: Dataset) -> list[int]:
    assert isinstance(images, Dataset)
    assert len({images.key(item) for item in range(len(images))}) == len(images)
    return [number_of(pixels_at(images, item)) for item in range(len(images))]


def opened(path: Path) -> Dataset:
    found = open_images(path, SkipLog())
    assert found.test is None
    return found.train


# Folders


def test_a_nested_folder_with_captions_and_hidden_files(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"b/2.png": 2, "a/deep/er/1.JPG".lower(): 1, "3.webp": 3, ".hidden.png": 9, ".git/x.png": 9})
    for name in ("1.txt", "b/2.json", "captions.csv", "b/2.txt", "metadata.jsonl"):
        (tmp_path / name).write_text("a caption")
    images = opened(tmp_path)
    assert [images.key(item) for item in range(3)] == ["3.webp", "a/deep/er/1.jpg", "b/2.png"]
    assert [abs(a - b) for a, b in zip(numbers(images), [3, 1, 2], strict=True)] == [0, 0, 0]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"a/1.png": 1})
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    skipped = SkipLog()
    assert len(open_images(tmp_path, skipped).train) == 1
    assert list(skipped.reasons) == ["nowhere.png"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_folder(tmp_path, {"closed/1.png": 1, "open/2.png": 2})
    real = os.scandir

    def guarded(path: str) -> object:
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    skipped = SkipLog()
    assert numbers(open_images(tmp_path, skipped).train) == [2]
    assert skipped.reasons == {"closed/": "The folder closed/ cannot be listed: Permission denied."}


def test_a_link_to_itself_costs_nothing_else(tmp_path: Path) -> None:
    fill_folder(tmp_path, {f"sub/{i}.png": i for i in range(5)} | {"6.png": 6})
    for name in ("self", "z.png", "sub/z.png", "sub/z", "train-images-idx3-ubyte"):
        (tmp_path / name).symlink_to((tmp_path / name).name)
    skipped = SkipLog()
    assert numbers(open_images(tmp_path, skipped).train) == [6, 0, 1, 2, 3, 4]
    assert {"self", "z.png", "sub/z.png", "sub/z"} <= set(skipped.reasons)
    assert skipped.reasons["self"] == "self cannot be followed: Too many levels of symbolic links."


@pytest.mark.parametrize("refused", ["shut", "shut/in.png", "shut/in.tar"])
def test_a_path_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    (tmp_path / "shut").mkdir()

    def guarded(path: object, **_: object) -> object:
        raise PermissionError(13, "Permission denied")

    for name in ("listdir", "scandir", "stat"):
        monkeypatch.setattr(os, name, guarded)
    with refuses(NoTrainingData, "shut"):
        opened(tmp_path / refused)


def test_a_name_longer_than_a_name_can_be(tmp_path: Path) -> None:
    with pytest.raises(NoTrainingData):
        opened(tmp_path / ("x" * 300))


def test_twenty_thousand_files_are_listed_quickly(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for file in range(1000):
            (tmp_path / str(folder) / f"{file}.jpg").touch()
    start = time.process_time()
    found = files_below(tmp_path, {".jpg"}, lambda *_: None)
    assert len(found) == 20_000 and time.process_time() - start < 5


def test_parts_for_tests_are_set_apart(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"train/cat/1.png": 1, "train/2.png": 2, "val/3.png": 3, "testimony/4.png": 4})
    found = open_images(tmp_path, SkipLog())
    assert numbers(found.train) == [4, 2, 1] and found.test is not None and numbers(found.test) == [3]


@pytest.mark.parametrize("layout", ["{part}-{i}.tar", "{part}/{i}.tar", "set/{part}/{i}.tar", "{part}/test-{i}.tar"])
def test_tars_for_tests_are_set_apart(tmp_path: Path, layout: str) -> None:
    for part, start in (("train", 0), ("val", 10)):
        for i in range(2):
            write_tar(tmp_path / layout.format(part=part, i=i), {"x.png": encoded(start + i)})
    found = open_images(tmp_path, SkipLog())
    assert found.test is not None and numbers(found.train) == [0, 1] and numbers(found.test) == [10, 11]
    assert not {found.train.key(item) for item in range(2)} & {found.test.key(item) for item in range(2)}


def test_of_images_beside_tars_what_is_more_is_used_and_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {f"{i}.png": encoded(i) for i in range(20)})
    fill_folder(tmp_path, {"logo.png": 21, "assets/preview.png": 22})
    said: list[str] = []
    assert numbers(open_images(tmp_path, SkipLog(say=said.append)).train) == list(range(20))
    assert len(said) == 1 and not lacks(said[0], "2", "1")
    (tmp_path / "large.png").write_bytes(encoded(23) + bytes(10**6))
    np.save(tmp_path / "of-something.npy", np.arange(3))
    said.clear()
    assert len(open_images(tmp_path, SkipLog(say=said.append)).train) == 3
    assert len(said) == 1 and not lacks(said[0], "3", "1")


def test_runs_in_the_data_are_no_data(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"1.png": 1, "a/run/2.png": 2, "a/run/images/3.png": 3, "a/4.png": 4, "recipes/5.png": 5})
    (tmp_path / "recipes" / "recipe.json").touch()
    for name in ("recipe.json", "log.jsonl"):
        (tmp_path / "a" / "run" / name).touch()
    skipped = SkipLog()
    assert numbers(open_images(tmp_path, skipped).train) == [1, 4, 5]
    assert set(skipped.reasons) == {"a/run/"}
    assert numbers(opened(tmp_path / "a" / "run")) == [2, 3]  # somebody asked for it


def test_a_single_image(tmp_path: Path) -> None:
    assert numbers(opened(fill_folder(tmp_path, {"5.png": 5}) / "5.png")) == [5]


def test_the_digest_tells_names_and_sizes_apart(tmp_path: Path) -> None:
    one = opened(fill_folder(tmp_path / "a", {"1.png": 1, "2.png": 2})).digest
    assert one == opened(fill_folder(tmp_path / "b", {"1.png": 1, "2.png": 2})).digest
    assert one != opened(fill_folder(tmp_path / "c", {"1.png": 1, "3.png": 2})).digest
    (tmp_path / "b" / "2.png").write_bytes(b"else")
    assert one != opened(tmp_path / "b").digest


# Tars

SAMPLES = {
    "00/7.jpg": encoded(7, "jpg"),
    "00/7.txt": b"a caption",
    "00/7.seg.png": encoded(20),
    "00/8.v2.png": encoded(8),
    "00/8.json": b"{}",
    "../../etc/9.png": encoded(9),
    "a" * 150 + "/10.png": encoded(10),
    ".11.png": encoded(11),
}


@pytest.mark.parametrize("name", ["one.tar", "folder", "train-{00..01}.tar"])
def test_tars(tmp_path: Path, name: str) -> None:
    if name == "one.tar":
        write_tar(tmp_path / name, SAMPLES)
    else:
        half = dict(list(SAMPLES.items())[:3]), dict(list(SAMPLES.items())[3:])
        for i, part in enumerate(half):
            write_tar(tmp_path / ("folder" if name == "folder" else "") / f"train-0{i}.tar", part)
    for _ in range(2):  # the second time from the list that is kept
        images = opened(tmp_path / name)
        assert images.kind == "tar" and numbers(images) == [7, 8, 9, 10]


def test_a_tar_cut_in_the_middle_gives_what_is_before(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", {f"{i}.png": encoded(i) for i in range(10)})
    listed, damage = members(whole, IMAGE_ENDINGS)
    assert not damage and len(listed) == 10
    cut = tmp_path / "b.tar"
    cut.write_bytes(whole.read_bytes()[: listed[6][1] + 30])
    skipped = SkipLog()
    images = open_images(cut, skipped).train
    assert [number_of(pixels_at(images, i)) for i in range(6)] == list(range(6))
    if len(images) == 7:
        with pytest.raises(BadItem):
            pixels_at(images, 6)
    assert "b.tar" in skipped.reasons


def test_a_tar_with_a_broken_header_gives_what_is_before(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", {f"{i}.png": encoded(i) for i in range(10)})
    listed, _ = members(whole, IMAGE_ENDINGS)
    content = bytearray(whole.read_bytes())
    content[listed[4][1] - 512 : listed[4][1]] = b"x" * 512
    whole.write_bytes(content)
    skipped = SkipLog()
    assert numbers(open_images(whole, skipped).train) == [0, 1, 2, 3]
    assert "4,096" in skipped.reasons["a.tar"], "where the damage begins"


def test_tars_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NoTrainingData):
        opened(write_tar(tmp_path / "captions.tar", {"1.txt": b"x"}))
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b"x" * 2000))
    (tmp_path / "photos.tgz").write_bytes((tmp_path / "x.tar.gz").read_bytes())
    (tmp_path / "photos.TBZ").write_bytes(bz2.compress(b"x" * 2000))
    for name in ("x.tar.gz", "photos.tgz", "photos.TBZ"):
        with refuses(NoTrainingData, name):
            opened(tmp_path / name)
    for pattern, facts in (("x-{0..3}.tar", ["x-0.tar"]), ("x-{a..c}.tar", []), ("x-{0..9999999}.tar", [])):
        with refuses(NotFound, *facts):
            opened(tmp_path / pattern)
    assert len(expanded("a{0..1}/b{08..12}.tar")) == 10


# Arrays


def images(count: int = 6) -> np.ndarray:
    values = np.zeros((count, 4, 4, 3), np.uint8)
    values[..., 1] = 10 * np.arange(count)[:, None, None]
    return values


@pytest.mark.parametrize(("local", "central", "value"), [(8, 10, 99), (6, 8, 1)], ids=["packing", "encrypted"])
def test_an_npz_that_cannot_be_unpacked_is_told(local: int, central: int, value: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=images())
    changed = bytearray((tmp_path / "a.npz").read_bytes())
    for start, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        struct.pack_into("<H", changed, changed.find(start) + place, value)
    (tmp_path / "a.npz").write_bytes(changed)
    with pytest.raises(NoTrainingData):
        opened(tmp_path / "a.npz")


def test_npz_and_npy(tmp_path: Path) -> None:
    for key in ("x", "images", "arr_0", "anything"):
        np.savez(tmp_path / "a.npz", **{key: images()})
        assert numbers(opened(tmp_path / "a.npz")) == list(range(6))
    np.savez_compressed(tmp_path / "b.npz", x_train=images(), y_train=np.arange(6), x_test=images(3))
    found = open_images(tmp_path / "b.npz", SkipLog())
    assert len(found.train) == 6 and found.test is not None and numbers(found.test) == [0, 1, 2]
    np.save(tmp_path / "c.npy", images().transpose(0, 3, 1, 2))
    assert numbers(opened(tmp_path / "c.npy")) == list(range(6))
    np.savez(tmp_path / "d.npz", labels=np.arange(3), weights=np.arange(3))
    with refuses(NoTrainingData, "labels", "weights"):
        opened(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", x=np.array([{}], dtype=object))
    with pytest.raises(NoTrainingData):
        opened(tmp_path / "e.npz")
    (tmp_path / "f.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(NoTrainingData):
        opened(tmp_path / "f.npz")


def idx(values: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, 3) + struct.pack(">3I", *values.shape) + values.tobytes()


def test_idx(tmp_path: Path) -> None:
    gray = np.arange(5 * 6 * 6, dtype=np.uint8).reshape(5, 6, 6)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(gray)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(gray[:2]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"")
    found = open_images(tmp_path, SkipLog())
    assert len(found.train) == 5 and found.test is not None and len(found.test) == 2
    np.testing.assert_array_equal(np.asarray(pixels_at(found.train, 3)), gray[3])
    assert len(opened(tmp_path / "t10k-images-idx3-ubyte")) == 2
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(gray)[:-1])
    with refuses(NoTrainingData, "179", "180"):
        opened(tmp_path / "t10k-images-idx3-ubyte")


def test_what_is_packed_and_no_idx_file_is_not_unpacked(tmp_path: Path) -> None:
    for content, facts in (
        (b"something else" * 10**6, [int.from_bytes(b"so"), ord("m")]),
        (idx(np.zeros((1, 4, 4), np.uint8)) + bytes(3 * 10**7), ["16"]),
        (struct.pack(">HBB", 0, 8, 200) + b"\xff" * 800, []),
        (struct.pack(">HBB", 0, 8, 3), []),
    ):
        (tmp_path / "a.gz").write_bytes(gzip.compress(content))
        tracemalloc.start()
        with refuses(NoTrainingData, *facts):
            opened(tmp_path / "a.gz")
        assert tracemalloc.get_traced_memory()[1] < 10**7
        tracemalloc.stop()


def test_a_zip_of_other_files_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("1.png", encoded(1))
    with refuses(NoTrainingData, "1.png"):
        opened(tmp_path / "a.zip")
    np.savez(tmp_path / "b.npz", x=images())
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as packed:
        packed.writestr("x_test", b"no array")
    with refuses(NoTrainingData, "x_test"):
        opened(tmp_path / "b.npz")


# Errors


def test_what_is_no_data(tmp_path: Path) -> None:
    with refuses(NotFound, "WebDataset"):
        opened(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NoTrainingData):
        opened(tmp_path)
    broken = opened(tmp_path / "notes.txt")
    with pytest.raises(BadItem):
        pixels_at(broken, 0)
    for words, facts in (
        ({"_data_files": []}, []),
        ({"_data_files": [{"filename": "../x"}]}, ["x"]),
        ([], []),
    ):
        (tmp_path / "state.json").write_text(json.dumps(words))
        with refuses(NoTrainingData, *facts):
            opened(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(NoTrainingData):
        opened(tmp_path)
