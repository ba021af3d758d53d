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


# ---------------------------------------- views that a pickle describes, against the storages that are there


def zipped(pickled: bytes, records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ({"data.pkl": pickled} | records).items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


STORAGE = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
"""Four numbers; to be closed by an offset, a shape and strides."""


def tensor_of(view: bytes) -> bytes:
    """A dictionary of one tensor over four numbers."""
    call = b"ctorch._utils\n_rebuild_tensor\n" + STORAGE + view + b"tR"
    return b"\x80\x02}X\x01\0\0\0x" + call + b"s."


VIEWS = {
    "beyond": b"K\x01K\x04\x85K\x01\x85",
    "beyond by a stride": b"K\x00K\x02\x85K\x04\x85",
    "a negative offset": b"J\xff\xff\xff\xffK\x01\x85K\x01\x85",
    "a negative side": b"K\x00J\xff\xff\xff\xff\x85K\x01\x85",
    "a negative stride": b"K\x03K\x02\x85J\xff\xff\xff\xff\x85",
    "swollen": b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85",
    "different numbers of strides and sizes": b"K\x00K\x02\x85K\x01K\x01\x86",
    "a shape of texts": b"K\x00X\x01\0\0\x004\x85K\x01\x85",
    "a shape of truths": b"K\x00\x88\x85K\x01\x85",
    "no shape": b"K\x00NN",
    "100 sides": b"K\x00(" + b"K\x01" * 100 + b"t(" + b"K\x01" * 100 + b"t",
    "huge and empty": b"K\x00K\x00\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x87K\x01K\x01K\x01\x87",
}


def test_the_view_that_is_right(tmp_path: Path, read_all: Read) -> None:
    (tmp_path / "x.pt").write_bytes(
        zipped(tensor_of(b"K\x01K\x03\x85K\x01\x85"), {"data/0": struct.pack("4f", *range(4))})
    )
    assert read_all(tmp_path / "x.pt")["x"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", VIEWS)
def test_views_that_lie(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(zipped(tensor_of(VIEWS[name]), {"data/0": bytes(16)}))
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("records", [{}, {"data/0": bytes(15)}, {"data/1": bytes(16)}])
def test_storages_that_are_not_there(tmp_path: Path, records: dict[str, bytes]) -> None:
    (tmp_path / "x.pt").write_bytes(zipped(tensor_of(b"K\x00K\x01\x85K\x01\x85"), records))
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")
