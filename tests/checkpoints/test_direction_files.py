"""Direction files: there and back, and hostile content."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.direction_files import DirectionFile, check_same_vae, load_direction, save_direction
from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadDirection, CannotWrite, LatentMismatch, NotFound
from vaekit.geometry import Geometry
from vaekit.latents.directions import Direction
from vaekit.normalization import LatentNormalization

SPACE = LatentOrigin("ab" * 32, "kl", Geometry(3, 4, (4, 4)), LatentNormalization((0.5,), (0.25,)))


def example(shape: tuple[int, ...] = (4,)) -> DirectionFile:
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    facts = {"label": "age", "score": {"r2": 0.5}, "classes": None}
    return DirectionFile(Direction("older", vector / vector.norm(), 1.25), 3 * vector, SPACE, facts)


@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_there_and_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    written = example(shape)
    save_direction(tmp_path / "d.safetensors", written)
    read = load_direction(tmp_path / "d.safetensors")
    assert torch.equal(read.direction.vector, written.direction.vector) and torch.equal(read.probe, written.probe)
    assert (read.direction.name, read.direction.std, read.space, read.facts) == ("older", 1.25, SPACE, written.facts)
    save_direction(tmp_path / "again.safetensors", read)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


def test_an_unknown_normalization_stays_unknown(tmp_path: Path) -> None:
    save_direction(tmp_path / "d.safetensors", replace(example(), space=replace(SPACE, normalization=None)))
    assert load_direction(tmp_path / "d.safetensors").space.normalization is None


Content = tuple[dict[str, torch.Tensor], dict[str, str]]
CHANGES: dict[str, Callable[[dict[str, torch.Tensor], dict[str, str]], object]] = {
    "NaN": lambda tensors, _: tensors["vector"].fill_(math.nan),
    "infinite probe": lambda tensors, _: tensors["probe"].fill_(math.inf),
    "zero": lambda tensors, _: tensors["vector"].zero_(),
    "long": lambda tensors, _: tensors["vector"].mul_(3),
    "no probe": lambda tensors, _: tensors.pop("probe"),
    "one tensor more": lambda tensors, _: tensors.update(more=torch.zeros(2)),
    "another width": lambda tensors, _: tensors.update(vector=torch.eye(5)[0], probe=torch.eye(5)[0]),
    "another shape": lambda tensors, _: tensors.update(vector=torch.eye(4)[:1], probe=torch.eye(4)[:1]),
    "different shapes": lambda tensors, _: tensors.update(probe=torch.zeros(4, 1, 1)),
    "integers": lambda tensors, _: tensors.update(vector=torch.eye(4).int()[0]),
    "half": lambda tensors, _: tensors.update(vector=torch.eye(4).half()[0]),
    "empty": lambda tensors, _: tensors.update(vector=torch.zeros(4, 0, 2), probe=torch.zeros(4, 0, 2)),
    "no version": lambda _, metadata: metadata.pop("vaekit.direction"),
    "later version": lambda _, metadata: metadata.update({"vaekit.direction": "9"}),
    "no std": lambda _, metadata: metadata.pop("vaekit.std"),
    "NaN std": lambda _, metadata: metadata.update({"vaekit.std": "nan"}),
    "infinite std": lambda _, metadata: metadata.update({"vaekit.std": "inf"}),
    "negative std": lambda _, metadata: metadata.update({"vaekit.std": "-1"}),
    "std of words": lambda _, metadata: metadata.update({"vaekit.std": "one"}),
    "fingerprint": lambda _, metadata: metadata.update({"vaekit.fingerprint": "../etc"}),
    "no fingerprint": lambda _, metadata: metadata.pop("vaekit.fingerprint"),
    "geometry": lambda _, metadata: metadata.update({"vaekit.geometry": '{"channels": -1}'}),
    "deep geometry": lambda _, metadata: metadata.update({"vaekit.geometry": "[" * 100_000}),
    "kind": lambda _, metadata: metadata.update({"vaekit.kind": "rotation"}),
    "no kind": lambda _, metadata: metadata.pop("vaekit.kind"),
    "facts": lambda _, metadata: metadata.update({"vaekit.learned": "[1]"}),
    "facts of words": lambda _, metadata: metadata.update({"vaekit.learned": "{"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_hostile_content_is_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], object]
) -> None:
    path = tmp_path / "d.safetensors"
    save_direction(path, example())
    tensors, metadata = load_file(path), metadata_of(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)
    with refuses(BadDirection, path.name, "vaekit direction"):
        load_direction(path)


def metadata_of(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header["__metadata__"])


def test_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_direction(path, example())
    content = path.read_bytes()
    for damaged in (b"", content[:7], content[:100], content[:-1], content + b"x", b"{}", b"\x89PNG\r\n\x1a\n" * 9):
        path.write_bytes(damaged)
        with refuses(BadDirection, path.name):
            load_direction(path)
    with pytest.raises(NotFound):
        load_direction(tmp_path / "none.safetensors")


def test_names_are_made_printable(tmp_path: Path) -> None:
    file = example()
    save_direction(tmp_path / "d.safetensors", replace(file, direction=replace(file.direction, name="a\x1b[2J\nb")))
    assert load_direction(tmp_path / "d.safetensors").direction.name == "a [2J b"


def test_directions_of_other_vaes_are_refused(tmp_path: Path) -> None:
    check_same_vae(tmp_path, SPACE, SPACE)
    with refuses(LatentMismatch, "ababababab", "cdcdcdcdcd"):
        check_same_vae(tmp_path, SPACE, replace(SPACE, fingerprint="cd" * 32))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite):
        save_direction(tmp_path / "file" / "d.safetensors", example())
