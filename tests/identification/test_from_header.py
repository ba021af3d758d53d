"""What the header of a file tells is what `inspect` tells, as far as no values are needed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint, UnknownVAE
from vaekit.identification.from_header import NOT_HERE, inspect_header
from vaekit.identification.inspect import inspect_path
from vaekit.vae import VAE

OF_VALUES = ("fingerprint", "sha256", "catalog_entry", "recognized", "relatives", "non_finite")


def header_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def builtin() -> Path:
    return next(Path(vaekit.__file__).parent.rglob("builtin.safetensors"))


def test_a_header_tells_what_the_file_tells() -> None:
    path = builtin()
    told = dataclasses.asdict(inspect_header(header_of(path), path.stat().st_size, path))
    whole = dataclasses.asdict(inspect_path(path, hash=False, measure=False))
    assert told == whole
    assert all(not told[name] for name in OF_VALUES)


def test_no_file_is_opened() -> None:
    path = builtin()
    inspection = inspect_header(header_of(path), path.stat().st_size, Path("nowhere"))
    assert inspection.family == "kl" and inspection.path == "nowhere"


def test_a_normalization_in_tensors_is_unknown(flux2_vae: VAE, tmp_path: Path) -> None:
    """Of FLUX.2's VAE: its batch norm has the statistics."""
    path = tmp_path / "flux2.safetensors"
    save(flux2_vae, path, "ldm")
    save_file(load_file(path), path)  # without metadata
    assert inspect_path(path, hash=False, measure=False).normalization is not None
    inspection = inspect_header(header_of(path), path.stat().st_size, path)
    assert inspection.normalization is None and inspection.normalization_source == NOT_HERE


def test_another_file_is_no_vae(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UnknownVAE, match="There is no VAE in this file"):
        inspect_header(header_of(path), path.stat().st_size, Path("this file"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        (100 * 2**20).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"\xff\xfe",
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        (500_000).to_bytes(8, "little") + b'{"a":' * 100_000,
    ],
)
def test_damaged_headers(content: bytes) -> None:
    with pytest.raises(BadCheckpoint):
        inspect_header(content, len(content), Path("this file"))


def test_too_many_tensors() -> None:
    entries = {f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(11)}
    text = json.dumps(entries).encode()
    with pytest.raises(BadCheckpoint, match="11 tensors"):
        inspect_header(len(text).to_bytes(8, "little") + text, 8 + len(text) + 11, Path("this file"), most=10)
