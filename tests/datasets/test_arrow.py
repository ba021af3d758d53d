import json
import sys
from pathlib import Path

import pytest
from image_data import encoded, number_of, open_images, pixels_at
from refusals import refuses

from vaekit.datasets.arrow import ArrowItems
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import BadItem, MissingPackage, NoTrainingData


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.ipc"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with refuses(MissingPackage, "vaekit[datasets]"):
        open_images(tmp_path, SkipLog())


def table(start: int, count: int) -> object:
    pa = pytest.importorskip("pyarrow")
    images = [{"bytes": encoded(start + i), "path": None} for i in range(count)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"raw": pa.array([b"x"] * count), "image": pa.array(images, kind), "label": list(range(count))})


def numbers(path: Path) -> list[int]:
    found = open_images(path, SkipLog()).train
    assert isinstance(found, ArrowItems)
    return [number_of(pixels_at(found, item)) for item in range(len(found))]


def test_parquet_is_copied_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for i in range(2):
        parquet.write_table(table(4 * i, 4), tmp_path / "data" / f"train-0000{i}-of-00002.parquet", row_group_size=3)
    parquet.write_table(table(9, 2), tmp_path / "data" / "test-00000-of-00001.parquet")
    told: list[str] = []
    found = open_images(tmp_path, SkipLog(say=told.append))
    assert [number_of(pixels_at(found.train, item)) for item in range(8)] == list(range(8))
    assert found.test is not None and len(found.test) == 2
    assert not {found.train.key(item) for item in range(8)} & {found.test.key(item) for item in range(2)}
    assert len(told) == 3 and len(list((cache / "arrow").iterdir())) == 3
    told.clear()
    monkeypatch.setattr("vaekit.cache.__version__", "another")
    assert len(open_images(tmp_path, SkipLog(say=told.append)).train) == 8 and not told
    parquet.write_table(table(9, 3), tmp_path / "data" / "test-00000-of-00001.parquet")
    assert len(open_images(tmp_path, SkipLog(say=told.append)).test or ()) == 3 and len(told) == 1
    assert len(list((cache / "arrow").iterdir())) == 3


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table(0, 4), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    (tmp_path / "a.parquet").write_bytes(content)
    with refuses(NoTrainingData, "a.parquet"):
        open_images(tmp_path, SkipLog())


def test_arrow_files_in_both_forms(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    for i, new in enumerate((pa.ipc.new_file, pa.ipc.new_stream)):
        rows = table(3 * i, 3)
        with new(tmp_path / f"{i}.arrow", rows.schema) as writer:  # type: ignore[attr-defined]
            writer.write_table(rows)
    assert numbers(tmp_path) == list(range(6))


def test_rows_without_a_image_are_broken(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = pa.table({"image": pa.array([encoded(1), None, b""], pa.binary())})
    with pa.ipc.new_stream(tmp_path / "a.arrow", rows.schema) as writer:
        writer.write_table(rows)
    found = open_images(tmp_path, SkipLog()).train
    assert number_of(pixels_at(found, 0)) == 1
    for item in (1, 2):
        with pytest.raises(BadItem):
            pixels_at(found, item)


def test_no_column_of_images(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = pa.table({"text": ["a"]})
    with pa.ipc.new_stream(tmp_path / "a.arrow", rows.schema) as writer:
        writer.write_table(rows)
    with refuses(NoTrainingData, "text"):
        open_images(tmp_path, SkipLog())
    (tmp_path / "a.arrow").write_bytes(b"nonsense" * 30)
    with pytest.raises(NoTrainingData):
        open_images(tmp_path, SkipLog())


def save_to_disk(folder: Path, *shards: tuple[int, int]) -> None:
    """What Dataset.save_to_disk of datasets 4 writes."""
    pa = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    features = {"raw": {"dtype": "binary", "_type": "Value"}, "image": {"_type": "Image"}}
    for i, (start, count) in enumerate(shards):
        told = {"huggingface": json.dumps({"info": {"features": features}})}
        rows = table(start, count).replace_schema_metadata(told)  # type: ignore[attr-defined]
        with pa.ipc.new_stream(folder / f"data-{i:05}-of-{len(shards):05}.arrow", rows.schema) as writer:
            writer.write_table(rows, max_chunksize=2)
    files = [{"filename": f"data-{i:05}-of-{len(shards):05}.arrow"} for i in range(len(shards))]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "one", (0, 3), (5, 2))
    assert numbers(tmp_path / "one") == [0, 1, 2, 5, 6]
    save_to_disk(tmp_path / "splits" / "train", (1, 2))
    save_to_disk(tmp_path / "splits" / "test", (3, 1))
    (tmp_path / "splits" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert numbers(tmp_path / "splits") == [1, 2]
    assert len(open_images(tmp_path / "splits", SkipLog()).test or ()) == 1
