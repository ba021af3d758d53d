"""Which files are the shards of one model, and which sets are refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from refusals import lacks, refuses

from vaekit.errors import BadCheckpoint
from vaekit.formats import shard_sets
from vaekit.formats.shard_sets import files_of, is_index, part_hint, shard_set_of, weights_entries, whole_name

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def put_index(folder: Path, weight_map: Any, name: str = INDEX) -> Path:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder / name


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("model.safetensors.index.json", "model.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin"),
        ("diffusion_pytorch_model.safetensors.index.fp16.json", "diffusion_pytorch_model.fp16.safetensors"),
        ("diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
        ("diffusion_pytorch_model-00001-of-00002.fp16.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
        ("pytorch_model-00002-of-00002.bin", "pytorch_model.bin"),
        ("vae.safetensors", "vae.safetensors"),
    ],
)
def test_the_name_of_the_whole(name: str, whole: str) -> None:
    assert whole_name(name) == whole
    assert is_index(name) == name.endswith(".json")


@pytest.mark.parametrize("name", ["model_index.json", "config.json", "index.json", "notes.txt"])
def test_other_files_are_no_index(name: str) -> None:
    assert not is_index(name)


def test_any_file_of_a_set_gives_the_set(tmp_path: Path) -> None:
    put(tmp_path, ONE, TWO, "part_a.bin", "part_b.bin", "other.safetensors", "model-00001-of-00003.safetensors")
    index = put_index(tmp_path, {"a": ONE, "b": TWO, "c": TWO})
    odd = put_index(tmp_path, {"a": "part_b.bin", "b": "part_a.bin"}, "pytorch_model.bin.index.json")
    for name in (ONE, TWO, INDEX):
        assert files_of(tmp_path / name) == (index, tmp_path / ONE, tmp_path / TWO)
    assert files_of(tmp_path / "part_b.bin") == (odd, tmp_path / "part_a.bin", tmp_path / "part_b.bin")
    assert files_of(tmp_path / "other.safetensors") == (tmp_path / "other.safetensors",)


def test_a_link_of_another_name_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "there", ONE, TWO)
    (tmp_path / "vae.safetensors").symlink_to(tmp_path / "there" / ONE)
    assert [path.name for path in files_of(tmp_path / "vae.safetensors")] == [ONE, TWO]


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_join_shards_without_an_index(tmp_path: Path, first: int) -> None:
    names = [f"model-{first + i:05d}-of-00003.bin" for i in range(3)]
    put(tmp_path, *names)
    assert [path.name for path in files_of(tmp_path / names[2])] == names


def test_one_of_one_is_whole(tmp_path: Path) -> None:
    put(tmp_path, "model-00001-of-00001.safetensors", "single.safetensors")
    put_index(tmp_path, {"a": "single.safetensors"}, "single.safetensors.index.json")
    assert shard_set_of(tmp_path / "model-00001-of-00001.safetensors") is None
    assert shard_set_of(tmp_path / "single.safetensors") is None


@pytest.mark.parametrize("indexed", [True, False])
def test_missing_shards_are_named(tmp_path: Path, indexed: bool) -> None:
    put(tmp_path, ONE)
    if indexed:
        put_index(tmp_path, {"a": ONE, "b": TWO})
    with refuses(BadCheckpoint, TWO):
        shard_set_of(tmp_path / ONE)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "/etc/passwd",
        "sub/x.safetensors",
        "..",
        "",
        "C:\\x",
        "a\0b",
        "\ud800",
        "x" * 5000,
        INDEX,
    ],
)
def test_files_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path, ONE)
    put(tmp_path.parent, "secret.safetensors")
    with refuses(BadCheckpoint, INDEX):
        shard_set_of(put_index(tmp_path, {"a": ONE, "b": name}))


def test_links_out_of_the_folder_are_refused_except_those_of_the_hubs_cache(tmp_path: Path) -> None:
    here, blobs, snapshot = tmp_path / "here", tmp_path / "blobs", tmp_path / "snapshot"
    put(here, ONE)
    put(blobs, "1", "2", TWO)
    index = put_index(here, {"a": ONE, "b": TWO})
    (here / TWO).symlink_to(blobs / TWO)
    with refuses(BadCheckpoint, TWO):
        shard_set_of(index)
    snapshot.mkdir()
    (blobs / "3").write_text(index.read_text())
    for name, blob in ((ONE, "1"), (TWO, "2"), (INDEX, "3")):
        (snapshot / name).symlink_to(blobs / blob)
    assert len(files_of(snapshot / ONE)) == 3


DAMAGED = {
    "cut off": b'{"weight_map": {"a": "model-00001',
    "no object": b"[1, 2]",
    "no map": b'{"metadata": {}}',
    "an empty map": b'{"weight_map": {}}',
    "a list": b'{"weight_map": ["a"]}',
    "numbers": b'{"weight_map": {"a": 1}}',
    "two places for one tensor": f'{{"weight_map": {{"a": "{ONE}", "a": "{TWO}"}}}}'.encode(),
    "not text": b"\xff\xfe\x00",
    "deep": b'{"weight_map":' + b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_indexes_are_refused(tmp_path: Path, damage: str) -> None:
    put(tmp_path, ONE, TWO, "other.safetensors")
    (tmp_path / INDEX).write_bytes(DAMAGED[damage])
    for name in (INDEX, ONE):
        with refuses(BadCheckpoint, INDEX):
            shard_set_of(tmp_path / name)
    assert shard_set_of(tmp_path / "other.safetensors") is None


def test_a_huge_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_sets, "LARGEST_INDEX", 1000)
    put(tmp_path, ONE, TWO)
    index = put_index(tmp_path, {f"tensor {i}": ONE for i in range(100)})
    with refuses(BadCheckpoint, INDEX, "1,000"):
        shard_set_of(index)


def test_a_pipe_is_no_index(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / INDEX)
    with refuses(BadCheckpoint, INDEX):
        shard_set_of(tmp_path / INDEX)


def test_the_entries_of_a_folder(tmp_path: Path) -> None:
    half = "model.fp16-00001-of-00002.safetensors"
    names = [
        ONE,
        TWO,
        half,
        "x-1-of-2.pt",
        "single.gguf",
        "notes.txt",
        "bin-00001-of-00002.bin",
        "bin-00002-of-00002.bin",
    ]
    put(tmp_path, *names)
    put_index(tmp_path, {"a": ONE, "b": TWO})
    put_index(tmp_path, {"a": "single.gguf"}, "single.gguf.index.json")
    (tmp_path / "notes.index.json").write_text("{}")
    entries = {entry.name: entry for entry in weights_entries(tmp_path, [file.name for file in tmp_path.iterdir()])}
    assert {name: [file.name for file in entry.files] for name, entry in entries.items()} == {
        "model.safetensors": [INDEX, ONE, TWO],
        "model.fp16.safetensors": [half],
        "x-1-of-2.pt": ["x-1-of-2.pt"],
        "single.gguf": ["single.gguf"],
        "bin.bin": ["bin-00001-of-00002.bin", "bin-00002-of-00002.bin"],
    }
    assert min(entries.values(), key=lambda entry: entry.preference).name == "model.safetensors"


@pytest.mark.parametrize("name", ["consolidated.00001.pth", "consolidated.00.pth", "pytorch_model-00000.bin"])
def test_a_part_by_its_name_hints_at_the_others(tmp_path: Path, name: str) -> None:
    assert lacks(part_hint(tmp_path / name), "parts") == []
    other = name.replace("00", "01", 1)
    (tmp_path / other).touch()
    assert lacks(part_hint(tmp_path / name), other) == []


@pytest.mark.parametrize("name", ["vae-ft-mse-840000-ema-pruned.ckpt", "model-00001-of-00003.bin", "vae.pt", "0001.pt"])
def test_other_names_hint_at_nothing(tmp_path: Path, name: str) -> None:
    assert part_hint(tmp_path / name) == ""
