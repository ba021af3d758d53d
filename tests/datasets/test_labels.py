"""Labels: where they come from, which column is used, and what is refused."""

import gzip
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from image_data import encoded, fill_folder, open_images, write_tar
from refusals import refuses

from vaekit.datasets.dataset import Dataset, Line, RecordFormat, Row
from vaekit.datasets.labels import label_names, read_columns, read_labels
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NotFound, NoTrainingData

ROWS = RecordFormat(items="rows", records=(Row,))
LINES = RecordFormat(items="lines", records=(Line,))


def images_at(path: Path) -> Dataset:
    return open_images(path, SkipLog()).train


def by_key(dataset: Dataset, column: str | None = None) -> dict[str, str | None]:
    return {dataset.key(i): label for i, label in enumerate(read_labels(dataset, column))}


@pytest.mark.parametrize("pattern", ["{}/{}.png", "{}/images/{}.png", "set/{}/{}.png"])
def test_class_folders(tmp_path: Path, pattern: str) -> None:
    names = {pattern.format(kind, i): i for i, kind in enumerate(["cat", "cat", "dog"])}
    found = by_key(images_at(fill_folder(tmp_path, names)))
    assert found == dict(zip(sorted(names), ["cat", "cat", "dog"], strict=True))


def test_class_folders_in_splits(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"train/cat/1.png": 1, "train/dog/2.png": 2, "test/cat/3.png": 3, "test/dog/4.png": 4})
    splits = open_images(tmp_path, SkipLog())
    assert splits.test is not None
    assert read_labels(splits.train) == read_labels(splits.test) == ["cat", "dog"]


def test_a_metadata_table(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"a/1.png": 1, "a/2.png": 2, "b/1.png": 3})
    (tmp_path / "metadata.csv").write_text("file_name,age,label\na/1.png,3.5,x\nb/1.png,,y\n")
    (tmp_path / "b" / "metadata.csv").write_text("file_name,age\n1.png,7\n")
    dataset = images_at(tmp_path)
    assert by_key(dataset, "age") == {"a/1.png": "3.5", "a/2.png": None, "b/1.png": "7"}
    assert read_labels(dataset) == ["x", None, "y"] and read_labels(dataset, "folder") == ["a", "a", "b"]
    (tmp_path / "metadata.csv").write_text("name,age\na/1.png,3.5\n")
    with refuses(NoTrainingData, "file_name", "metadata.csv"):
        read_labels(dataset, "age")


def test_columns_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("height,Class\n1, tall \n2,\n3\n")
    dataset = open_dataset(tmp_path / "t.csv", ROWS, SkipLog()).train
    assert read_labels(dataset) == ["tall", None, None] and read_labels(dataset, "height") == ["1", "2", "3"]
    with refuses(NotFound, "heigth", "height, Class"):
        read_labels(dataset, "heigth")
    (tmp_path / "t.csv").write_text("height,width\n1,2\n")
    with refuses(NotFound, "height, width"):
        read_labels(open_dataset(tmp_path / "t.csv", ROWS, SkipLog()).train)


def test_names_of_text_files_and_tables(tmp_path: Path) -> None:
    for kind in ("good", "bad"):
        (tmp_path / f"{kind}.txt").write_text("one\n\ntwo\n")
        (tmp_path / f"{kind}.csv").write_text("a,b\n1,2\n")
    lines = open_dataset(tmp_path, LINES, SkipLog()).train
    rows = open_dataset(tmp_path, ROWS, SkipLog()).train
    assert read_labels(lines) == ["bad", "bad", "good", "good"] and read_labels(rows) == ["bad", "good"]
    assert label_names(rows) == ["a", "b", "file"]


def test_arrays_in_an_npz(tmp_path: Path) -> None:
    pixels = np.zeros((3, 8, 8), np.uint8)
    arrays = {"y_train": np.array([2, 0, 1]), "names": np.array([b"a", b"b", b"c"]), "width": np.eye(3)[:, :1]}
    np.savez(tmp_path / "a.npz", x_train=pixels, x_test=pixels[:1], y_test=np.array([[4]]), **arrays)
    splits = open_images(tmp_path / "a.npz", SkipLog())
    assert splits.test is not None
    assert read_labels(splits.train) == ["2", "0", "1"] and read_labels(splits.test) == ["4"]
    assert read_labels(pickle.loads(pickle.dumps(splits.train)), "names") == ["a", "b", "c"]
    assert read_labels(splits.train, "width") == ["1.0", "0.0", "0.0"] and label_names(splits.test) == ["y"]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.arange(4), ["4", "3"]),
        (np.zeros((3, 2)), ["(3, 2)"]),
        (np.array(5), ["()"]),
        (np.array([{}, [], 1], object), []),
    ],
)
def test_arrays_that_are_no_labels(tmp_path: Path, labels: np.ndarray, named: list[str]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 8, 8), np.uint8), y=labels)
    with refuses(NoTrainingData, "a.npz", *named):
        read_labels(images_at(tmp_path / "a.npz"))


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def test_the_idx_file_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((3, 4, 4), np.uint8))))
    with refuses(NotFound, path.name):
        read_labels(images_at(path))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 2, 1], np.uint8)))
    assert read_labels(images_at(path)) == ["7", "2", "1"]
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 2], np.uint8)))
    with refuses(NoTrainingData, "2", "3"):
        read_labels(images_at(path))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(NoTrainingData):
        read_labels(images_at(path))


def test_members_of_tars(tmp_path: Path) -> None:
    samples = {
        **{"a/1.png": encoded(1), "a/1.cls": b"3\n", "a/1.json": b'{"age": 4.5, "tags": ["x"]}'},
        **{"a/2.png": encoded(2), "a/2.json": b'{"age": null, "cls": "other"}'},
        **{"a/3.png": encoded(3), "a/3.json": b"[" * 10_000, "a/4.cls": b"9"},
    }
    dataset = images_at(write_tar(tmp_path / "t.tar", samples))
    assert read_labels(dataset) == ["3", "other", None] and read_labels(dataset, "age") == ["4.5", None, None]
    folders = {f"{kind}/1.png": encoded(1) for kind in ("dog", "cat")}
    for i in range(2):
        write_tar(tmp_path / "shards" / f"{i}.tar", folders)
    assert read_labels(images_at(tmp_path / "shards")) == ["dog", "cat"] * 2


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_arrow_and_parquet(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    images = pa.array([encoded(i) for i in range(3)])
    columns = {"image": images, "label": [1, 0, None], "age": [0.5, 2.0, 3.0], "text": ["a", "", "c"], "box": [[1]] * 3}
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "age": {"_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table(columns).replace_schema_metadata(metadata)
    for i in range(2):
        if kind == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / f"{i}.parquet", row_group_size=2)
        else:
            with pa.ipc.new_stream(tmp_path / f"{i}.arrow", table.schema) as writer:
                writer.write_table(table, max_chunksize=2)
    dataset = images_at(tmp_path)
    assert label_names(dataset) == ["label", "age", "text"]
    assert read_labels(dataset) == ["dog", "cat", None] * 2 and read_labels(dataset, "text") == ["a", None, "c"] * 2
    assert read_labels(dataset, "age") == ["0.5", "2.0", "3.0"] * 2


def test_data_without_labels(tmp_path: Path) -> None:
    dataset = images_at(fill_folder(tmp_path, {"1.png": 1, "2.png": 2}))
    with refuses(NotFound, "1.png", "class folders", "npz", "idx", "tar"):
        read_labels(dataset)
    assert label_names(dataset) == []


def test_columns_beside_items(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"a/1.png": 1, "a/2.png": 2, "b/1.png": 3})
    (tmp_path / "metadata.csv").write_text("file_name,id,label\na/1.png,007,x\nb/1.png,,y\n")
    dataset = images_at(tmp_path)
    found = read_columns(dataset, ["label", "id", "folder"])
    assert found == {"label": ["x", "", "y"], "id": ["007", "", ""], "folder": ["a", "a", "b"]}
    with refuses(NotFound, "labl", "label"):
        read_columns(dataset, ["id", "labl"])
    assert read_columns(dataset, []) == {}


def test_items_without_columns_have_none_to_read(tmp_path: Path) -> None:
    dataset = images_at(fill_folder(tmp_path, {"1.png": 1, "2.png": 2}))
    with refuses(NotFound, "id", "columns"):
        read_columns(dataset, ["id"])
