"""Pickles of numpy arrays: read to the last bit, and nothing in them is run."""

import contextlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses

from vaekit.errors import BadCheckpoint, UnsafePickle
from vaekit.formats.numpy_pickles import read_numpy_pickle


def written(path: Path, content: object, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_come_back_under_dotted_names(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((3, 3, 2, 4)).astype("<f4"), rng.standard_normal(4).astype("<f4")
    path = written(tmp_path / "x.ckpt", {"net": {"conv": {"kernel": kernel, "bias": bias}}, "step": 3}, protocol)
    read = read_numpy_pickle(path)
    assert list(read) == ["net.conv.kernel", "net.conv.bias"]
    assert torch.equal(read["net.conv.kernel"], torch.from_numpy(kernel))
    assert torch.equal(read["net.conv.bias"], torch.from_numpy(bias))


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros(3, ">f4"), np.zeros((2, 3), "<f4", order="F"), np.array(["a"]), np.array([None])],
    ids=["float64", "big-endian", "Fortran", "text", "objects"],
)
def test_other_arrays_are_left_out(tmp_path: Path, array: np.ndarray) -> None:
    assert read_numpy_pickle(written(tmp_path / "x.ckpt", {"a": array})) == {}


def test_an_array_of_more_numbers_than_bytes_is_damage(tmp_path: Path) -> None:
    content = written(tmp_path / "x.ckpt", {"a": np.zeros((7, 5), "<f4")}).read_bytes()
    (tmp_path / "x.ckpt").write_bytes(content.replace(b"K\x07K\x05\x86", b"K\x07K\x06\x86"))
    with refuses(BadCheckpoint, "42", "140"):
        read_numpy_pickle(tmp_path / "x.ckpt")


@pytest.mark.parametrize("cut", [1, 10, 60, 150])
def test_a_file_cut_short_is_damage(tmp_path: Path, cut: int) -> None:
    content = written(tmp_path / "x.ckpt", {"a": np.zeros((7, 5), "<f4")}).read_bytes()
    (tmp_path / "x.ckpt").write_bytes(content[:-cut])
    with pytest.raises(BadCheckpoint):
        read_numpy_pickle(tmp_path / "x.ckpt")


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 1",)


def test_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePickle):
        read_numpy_pickle(written(tmp_path / "x.ckpt", {"a": Runs()}))


@pytest.mark.parametrize("state", [None, (1, 2), (1, (2,), 3, False, b""), (1, (2**40, 2**40), "f4", False, b"")])
def test_odd_states_are_damage_or_nothing(tmp_path: Path, state: object) -> None:
    class Odd:
        def __reduce__(self) -> tuple[object, ...]:
            build = np.zeros(1).__reduce__()[0]
            return build, (np.ndarray, (0,), b"b"), state

    path = written(tmp_path / "x.ckpt", {"a": Odd()})
    with contextlib.suppress(BadCheckpoint):
        assert read_numpy_pickle(path) == {}


def test_one_array_filled_a_thousand_times_is_too_much_work(tmp_path: Path) -> None:
    numbers = 250_000
    dtype = b"cnumpy\ndtype\nX\x02\0\0\0f4\x85R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    content = b"B" + struct.pack("<I", 4 * numbers) + bytes(4 * numbers)
    state = b"(K\x01J" + struct.pack("<i", numbers) + b"\x85" + dtype + b"\x89" + content + b"tq\x01"
    start = b"\x80\x03}X\x01\0\0\0acnumpy.core.multiarray\n_reconstruct\n)R" + state + b"b"
    (tmp_path / "once").write_bytes(start + b"s.")
    assert read_numpy_pickle(tmp_path / "once")["a"].shape == (numbers,)
    (tmp_path / "often").write_bytes(start + b"h\x01b" * 1000 + b"s.")
    with pytest.raises(BadCheckpoint):
        read_numpy_pickle(tmp_path / "often")


def test_an_empty_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"")
    with pytest.raises(BadCheckpoint):
        read_numpy_pickle(tmp_path / "x.ckpt")
