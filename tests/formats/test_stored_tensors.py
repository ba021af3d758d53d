"""Tensors that a pickle describes, against the storages that are there."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors

Read = Callable[[Path], dict[str, Tensor]]


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
