"""Captions come from columns, from captions.json, or from text files beside the items."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vaekit.datasets.captions import read_captions
from vaekit.datasets.dataset import Dataset
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.errors import NotFound, NoTrainingData


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def opened(path: Path) -> Dataset:
    return open_dataset(path, IMAGE_RECORDS, SkipLog()).train


def test_text_files_beside_items(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b/c.png", "d.png")
    (tmp_path / "a.txt").write_text("A café.\n", "utf-8")
    (tmp_path / "b/c.txt").write_bytes(b"bad \xff bytes")
    (tmp_path / "d.txt").write_text("  \n")
    assert read_captions(opened(tmp_path)) == ["A café.", "bad \ufffd bytes", None]


@pytest.mark.parametrize(
    "content",
    [
        [["a.png", "one", [8, 8]], ["b/c.png", "two"]],
        [{"file": "a.png", "caption": "one", "orig_size": [1, 2]}, {"file_name": "b/c.png", "text": "two"}],
        {"a.png": "one", "b/c.png": "two"},
    ],
)
def test_captions_json(tmp_path: Path, content: object) -> None:
    images(tmp_path, "a.png", "b/c.png", "d.png")
    (tmp_path / "captions.json").write_text(json.dumps(content))
    assert read_captions(opened(tmp_path)) == ["one", "two", None]


def test_captions_json_above_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "small/x/a.png")
    (tmp_path / "captions.json").write_text('[["x/a.png", "one", 3]]')
    assert read_captions(opened(tmp_path)) == ["one"]
    assert read_captions(opened(tmp_path / "small")) == ["one"]
    assert read_captions(opened(tmp_path / "small/x")) == ["one"]
    monkeypatch.chdir(tmp_path / "small")
    assert read_captions(opened(Path())) == ["one"]


def test_a_list_beside_the_folder_of_images_may_name_them_alone(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "captions.json").write_text('{"a.png": "one"}')
    assert read_captions(opened(tmp_path / "images")) == ["one", None]


def test_captions_are_not_those_of_other_files_of_the_same_name(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "more/a.png")
    (tmp_path / "captions.json").write_text('{"a.png": "one"}')
    assert read_captions(opened(tmp_path)) == ["one", None]
    assert read_captions(opened(tmp_path / "more")) == []


@pytest.mark.parametrize("content", ["{", "[3]", '[["a.png"]]', "3", "[" * 100_000])
def test_damaged_captions_are_refused(tmp_path: Path, content: str) -> None:
    images(tmp_path / "data", "a.png")
    (tmp_path / "captions.json").write_text(content)
    assert read_captions(opened(tmp_path / "data")) == [], "a file outside the data set may be anything"
    (tmp_path / "data/captions.json").write_text(content)
    with pytest.raises(NoTrainingData):
        read_captions(opened(tmp_path / "data"))


def test_columns_of_metadata_come_first(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_text("file_name,text,mood\na.png,one,glad\nb.png,two,sad\n")
    (tmp_path / "a.txt").write_text("beside")
    data = opened(tmp_path)
    assert read_captions(data) == ["one", "two"]
    assert read_captions(data, "mood") == ["glad", "sad"]
    with pytest.raises(NotFound):
        read_captions(data, "colour")


def test_members_of_tars(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in (("1.png", image.getvalue()), ("1.txt", b"one"), ("1.cls", b"3"), ("2.png", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert read_captions(opened(tmp_path / "x.tar")) == ["one", None]


def test_without_captions_there_are_none(tmp_path: Path) -> None:
    assert read_captions(opened(images(tmp_path, "a.png"))) == []
