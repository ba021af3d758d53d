"""Several files of weights as one."""

import json
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import save_file
from sharded_weights import write_shards

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_weights

WEIGHTS = {f"layer{i}.weight": torch.full((2, i + 1), float(i)) for i in range(5)}


@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
@pytest.mark.parametrize("index", [True, False])
def test_shards_are_one_file(tmp_path: Path, ending: str, index: bool) -> None:
    place, shards = write_shards(tmp_path, WEIGHTS, ending=ending, index=index, count=3)
    for path in [place, *shards] if index else shards:
        file = open_weights(path)
        assert file.path == (place if index else shards[0])
        assert file.files == ((place, *shards) if index else tuple(shards))
        assert set(file.specs) == set(WEIGHTS)
        read = file.read(WEIGHTS)
        assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)
    spans = {name: file.span(name) for name in WEIGHTS}
    assert {span.path for span in spans.values() if span} == set(shards)


def test_two_formats_and_metadata(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"made": "here", "format": "pt"})
    torch.save({"b": torch.ones(2)}, tmp_path / "b.bin")
    (tmp_path / "x.index.json").write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.bin"}}))
    file = open_weights(tmp_path / "x.index.json")
    assert (file.format, file.metadata["made"]) == ("pickle and safetensors", "here")


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    _, (one, two) = write_shards(tmp_path, WEIGHTS)
    save_file(WEIGHTS, two)
    with refuses(BadCheckpoint, "layer0.weight", one.name, two.name):
        open_weights(one)


@pytest.mark.parametrize("change", ["moved", "absent"])
def test_an_index_that_contradicts_its_shards_is_refused(tmp_path: Path, change: str) -> None:
    index, (one, two) = write_shards(tmp_path, WEIGHTS)
    content = json.loads(index.read_text())
    name = "layer0.weight" if change == "moved" else "layer9.weight"
    content["weight_map"][name] = two.name
    index.write_text(json.dumps(content))
    with refuses(BadCheckpoint, name, index.name):
        open_weights(one)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    index, (_, two) = write_shards(tmp_path, WEIGHTS)
    two.write_bytes(two.read_bytes()[:-3])
    with refuses(BadCheckpoint, two.name):
        open_weights(index)
