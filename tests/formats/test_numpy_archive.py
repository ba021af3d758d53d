"""Npz files against numpy's own reader, damaged ones, and latents of trainers."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses

import vaekit
from vaekit.checkpoints.convert import convert
from vaekit.errors import BadCheckpoint
from vaekit.formats.numpy_archive import FORMATS
from vaekit.formats.open import open_tensors
from vaekit.vae import VAE

ARRAYS: dict[str, Any] = {
    "conv.weight": np.arange(24.0, dtype="f4").reshape(2, 3, 4),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(5, dtype=">f4"),
    "scalar": np.float16(2.5),
    "empty": np.zeros((0, 3), "f4"),
    **{name: np.arange(3).astype(name) for name in FORMATS},
}


def compressed(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


def stored(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


@pytest.mark.parametrize("save", [stored, compressed])
def test_arrays_are_numpys(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", ARRAYS)
    file = open_tensors(tmp_path / "x.npz")
    assert file.format == "npz"
    assert file.specs.keys() == ARRAYS.keys()
    for name, tensor in file.read(ARRAYS).items():
        assert (file.specs[name].shape, file.specs[name].dtype) == (tensor.shape, tensor.dtype)
        assert np.array_equal(tensor.numpy(), ARRAYS[name]), name
        span = file.span(name)
        if span is not None and span.length:
            content = (tmp_path / "x.npz").read_bytes()[span.start : span.start + span.length]
            assert content == np.asarray(ARRAYS[name]).tobytes()
    assert (file.span("conv.weight") is None) == (save is compressed)
    assert file.span("big") is None and file.span("turned") is None


@pytest.mark.parametrize("save", [stored, compressed])
def test_a_vae_in_an_npz_file_is_loaded(save: Any, kl_vae: VAE, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", {name: tensor.numpy() for name, tensor in kl_vae.state_dict().items()})
    read = vaekit.load(tmp_path / "x.npz").state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in kl_vae.state_dict().items())
    assert vaekit.inspect(tmp_path / "x.npz", measure=False).format == "npz"
    convert(tmp_path / "x.npz", tmp_path / "y.safetensors")
    assert vaekit.load(tmp_path / "y.safetensors").state_dict().keys() == read.keys()


@pytest.mark.parametrize("save", [stored, compressed])
def test_arrays_of_objects_are_listed_but_never_read(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", {"x": np.ones(2, "f4"), "config": np.array([{"a": 1}], dtype=object)})
    file = open_tensors(tmp_path / "x.npz")
    assert not file.specs["config"].readable
    assert torch.equal(file.read(["x"])["x"], torch.ones(2))
    with refuses(BadCheckpoint, "config"):
        file.read(["config"])


@pytest.mark.parametrize("name", ["latents", "latents_64x96"])
def test_latents_of_a_trainer_are_named(name: str, tmp_path: Path) -> None:
    stored(tmp_path / "x.npz", {name: np.zeros((4, 8, 12), "f4"), "original_size": np.array([64, 96])})
    with refuses(BadCheckpoint, "kohya", name, "4x8x12"):
        open_tensors(tmp_path / "x.npz")


def zip_of(content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


GOOD = npy(np.ones(4, "f4"))


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 50, GOOD[:-1], GOOD + b"x", GOOD[:7], GOOD.replace(b"(4,)", b"(9,)"), GOOD.replace(b"(4,)", b"(,,)")],
)
def test_damaged_arrays(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(zip_of(content))
    with refuses(BadCheckpoint):
        open_tensors(tmp_path / "x.npz").read(["x"])


def test_a_record_that_does_not_unpack(tmp_path: Path) -> None:
    content = bytearray(zip_of(npy(np.arange(20_000)), zipfile.ZIP_DEFLATED))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    (tmp_path / "x.npz").write_bytes(content)
    with refuses(BadCheckpoint, "x"):
        open_tensors(tmp_path / "x.npz").read(["x"])
