"""Our reader of torch's files against torch's own, for every dtype, protocol, format and byte order."""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.torch_files import MAGIC_NUMBER

Tensors = dict[str, Tensor]
Read = Callable[[Path], Tensors]
Same = Callable[[Tensors, Tensors], None]
Saved = Callable[..., bytes]
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64, torch.complex128),
]
NEW_DTYPES = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]
"""Without a class of storage of their own."""


@pytest.mark.parametrize("wrapper", ["plain", "ordered", "nested"])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_what_torch_reads_we_read(
    tmp_path: Path,
    new: bool,
    protocol: int,
    wrapper: str,
    saved: Saved,
    read_all: Read,
    assert_same: Same,
    awkward_tensors: Tensors,
) -> None:
    tensors = awkward_tensors
    content: Any = collections.OrderedDict(tensors) if wrapper == "ordered" else tensors
    content = {"epoch": 2**40, "rate": 0.1, "done": {1, 2}, "raw": b"\xff", "state_dict": content, "x": (None, [True])}
    (tmp_path / "x.pt").write_bytes(saved(content if wrapper == "nested" else content["state_dict"], new, protocol))
    ours, theirs = read_all(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=False)
    assert_same(ours, theirs["state_dict"] if wrapper == "nested" else theirs)
    assert ours["plain"].untyped_storage()._cdata == ours["turned"].untyped_storage()._cdata
    ours["plain"][0, 0, 0] = 99
    assert ours["tied"][0, 0, 0] == 99
    assert all(tensor.data_ptr() % min(tensor.dtype.itemsize, 8) == 0 for tensor in ours.values() if tensor.numel())


@pytest.mark.parametrize("dtype", NEW_DTYPES, ids=str)
def test_number_formats_without_a_storage_class(
    tmp_path: Path, dtype: torch.dtype, saved: Saved, read_all: Read
) -> None:
    numbers = torch.tensor([0, 1, 2, 3, 4], dtype=torch.float32).to(dtype)
    (tmp_path / "x.pt").write_bytes(saved({"x": numbers, "tail": numbers[2:]}))
    read = read_all(tmp_path / "x.pt")
    assert read["x"].dtype == read["tail"].dtype == dtype
    assert read["x"].float().tolist() == [0, 1, 2, 3, 4]
    assert read["tail"].float().tolist() == [2, 3, 4]


@pytest.mark.parametrize("dtype", [*DTYPES, *NEW_DTYPES], ids=str)
def test_a_file_of_the_other_byte_order(tmp_path: Path, dtype: torch.dtype, saved: Saved, read_all: Read) -> None:
    numbers = torch.tensor([0, 1, 2, 5]).to(dtype)
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    turned = numbers.view(torch.uint8).reshape(-1, size).flip(1).numpy().tobytes()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"x": numbers}))) as old,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as new,
    ):
        for entry in old.namelist():
            content = {"byteorder": b"big", "0": turned}.get(entry.split("/")[-1], old.read(entry))
            new.writestr(entry, content)
    assert torch.equal(read_all(tmp_path / "x.pt")["x"].view(torch.uint8), numbers.view(torch.uint8))


def test_views_of_storages_before_torch_0_4(tmp_path: Path, read_all: Read) -> None:
    """The pickle as torch 0.3 wrote it: a persistent id with a sixth part."""

    class Old(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return tuple(value) if isinstance(value, Pid) else None

    class Pid(list[object]):
        pass

    class Call:
        def __reduce__(self) -> Any:
            pid = Pid(("storage", torch.FloatStorage, "7", "cpu", 6, ("8", 2, 4)))
            return torch._utils._rebuild_tensor, (pid, 1, (3,), (1,))

    stream = io.BytesIO()
    for value in (MAGIC_NUMBER, 1001, {"little_endian": True}):
        pickle.dump(value, stream, 2)
    Old(stream, 2).dump({"x": Call()})
    pickle.dump(["7"], stream, 2)
    stream.write(struct.pack("<q6f", 6, *range(6)))
    (tmp_path / "x.pt").write_bytes(stream.getvalue())
    assert read_all(tmp_path / "x.pt")["x"].tolist() == [3.0, 4.0, 5.0]


REAL = ["taef2/*.pth", "taesana/*.pth", "vae_approx/model.pt", "disentangling/*/model.pt", "joint/*/model.pt"]


@pytest.mark.parametrize("pattern", REAL)
def test_real_files(shared_data: Path, pattern: str, read_all: Read, assert_same: Same) -> None:
    paths = sorted((shared_data / "vae").glob(pattern))
    assert paths, f"no {pattern} in {shared_data}"
    for path in paths:
        assert_same(read_all(path), torch.load(path, map_location="cpu", weights_only=True))


def test_a_file_that_changes_under_us(tmp_path: Path, saved: Saved) -> None:
    (tmp_path / "x.pt").write_bytes(saved({"x": torch.ones(5000)}))
    file = open_tensors(tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(b"short")
    with pytest.raises(BadCheckpoint):
        file.read(["x"])
