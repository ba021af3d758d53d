"""GGUF files that lie: each is refused in words, in bounded memory and time."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors

F32, Q8_0 = 0, 8
UINT8, UINT32, TEXT, ARRAY = 0, 4, 8, 9


def number(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(letters: bytes) -> bytes:
    return number(len(letters)) + letters


def value(key: bytes, kind: int, content: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + content


def array(kind: int, count: int, content: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + content


def tensor(name: bytes = b"x", shape: tuple[int, ...] = (4,), kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def file(
    tensors: tuple[bytes, ...] = (tensor(),),
    values: tuple[bytes, ...] = (),
    data: bytes = bytes(64),
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    told = counts or (len(tensors), len(values))
    head = b"GGUF" + struct.pack("<IQQ", version, *told) + b"".join(values) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def alignment(number: int, kind: int = UINT32) -> bytes:
    return value(b"general.alignment", kind, struct.pack("<I", number))


LIES = {
    "the magic alone": b"GGUF",
    "a start alone": b"GGUF" + struct.pack("<I", 3),
    "version 1": file(version=1),
    "version 4": file(version=4),
    "another byte order": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "2**64 tensors": file(counts=(2**64 - 1, 0)),
    "2**63 values": file(counts=(0, 2**63)),
    "a million tensors": file(counts=(10**6, 0), data=bytes(10**5)),
    "more tensors than told": file(counts=(2, 0)),
    "more values than told": file(counts=(1, 5)),
    "a key of 2**63 bytes": file(values=(number(2**63) + b"key",)),
    "a key of a megabyte": file(values=(value(b"k" * 10**6, UINT8, b"\0"),)),
    "a key twice": file(values=(value(b"k", UINT8, b"\0"), value(b"k", UINT8, b"\0"))),
    "a key that is no text": file(values=(value(b"\xff\xfe", UINT8, b"\0"),)),
    "a value of an unknown kind": file(values=(value(b"k", 99, b"\0"),)),
    "a text beyond the end": file(values=(value(b"k", TEXT, number(2**40)),)),
    "a text that is no text": file(values=(value(b"k", TEXT, text(b"\xff\xfe")),)),
    "an array of 2**63 numbers": file(values=(value(b"k", ARRAY, array(UINT32, 2**63, b"")),)),
    "an array of 2**63 texts": file(values=(value(b"k", ARRAY, array(TEXT, 2**63, b"")),)),
    "an array of three million empty texts": file(
        values=(value(b"k", ARRAY, array(TEXT, 3 * 10**6, bytes(24 * 10**6))),)
    ),
    "an array of an unknown kind": file(values=(value(b"k", ARRAY, array(99, 1, b"\0")),)),
    "an array of arrays": file(values=(value(b"k", ARRAY, array(ARRAY, 1, array(UINT8, 1, b"\0"))),)),
    "100,000 arrays in each other": file(values=(value(b"k", ARRAY, array(ARRAY, 1, b"") * 100_000),)),
    "an alignment of 0": file(values=(alignment(0),)),
    "an alignment of 3": file(values=(alignment(3),)),
    "an alignment of 2**31": file(values=(alignment(2**31),)),
    "an alignment that is no number": file(values=(value(b"general.alignment", TEXT, text(b"32")),)),
    "a name of 2**62 bytes": file((number(2**62) + b"x",)),
    "a name of 10,000 letters": file((tensor(b"x" * 10_000),)),
    "a name of control characters": file((tensor(b"\x1b[2J"),)),
    "a name of control characters beyond ASCII": file((tensor("\x9b2J".encode()),)),
    "a name that turns the line around": file((tensor("\u202ex".encode()),)),
    "a name that is no text": file((tensor(b"\xff"),)),
    "duplicate tensor names": file((tensor(), tensor(offset=32))),
    "2**32 - 1 sides": file((text(b"x") + struct.pack("<IQ", 2**32 - 1, 1),)),
    "five sides": file((tensor(shape=(1, 1, 1, 1, 4)),)),
    "a side of 2**64 - 1": file((tensor(shape=(2**64 - 1,)),)),
    "a product that overflows to 0": file((tensor(shape=(2**32, 2**32)),)),
    "a product that overflows to 4": file((tensor(shape=(2**63 + 2, 2)),)),
    "a huge shape with a 0": file((tensor(shape=(0, 2**40, 2**40)),)),
    "a shape beyond the file": file((tensor(shape=(17,)),)),
    "an offset beyond the file": file((tensor(offset=2**20),)),
    "an offset that overflows": file((tensor(offset=2**64 - 32),)),
    "an offset between two places": file((tensor(offset=4),)),
    "overlapping tensors": file((tensor(b"x", (16,)), tensor(b"y", (8,), offset=32))),
    "tensors in one place": file((tensor(b"x"), tensor(b"y"))),
    "a row of half a block": file((tensor(shape=(16,), kind=Q8_0),)),
    "blocks beyond the file": file((tensor(shape=(64,), kind=Q8_0),)),
    "a shape of floats": file(values=(value(b"comfy.gguf.orig_shape.x", ARRAY, array(6, 1, bytes(4))),)),
    "a shape of 2**62 sides": file(values=(value(b"comfy.gguf.orig_shape.x", ARRAY, array(UINT32, 2**62, b"")),)),
    "a shape of nothing": file(values=(value(b"comfy.gguf.orig_shape.x", ARRAY, array(UINT32, 1, bytes(4))),)),
}


def test_the_file_without_a_lie(tmp_path: Path) -> None:
    for content in (file(), file(version=2), file((tensor(shape=()),)), file((tensor(shape=(0, 4)),), data=b"")):
        (tmp_path / "x").write_bytes(content)
        opened = open_tensors(tmp_path / "x")
        assert opened.read(["x"])["x"].shape == opened.specs["x"].shape


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.gguf").write_bytes(LIES[name])
    with pytest.raises(BadCheckpoint) as caught:
        open_tensors(tmp_path / "x.gguf")
    told = str(caught.value)
    assert told.isprintable()
    assert len(told) < 600
    assert caught.value.remedy


def test_a_tensor_of_an_unknown_kind_harms_nobody_who_does_not_ask_for_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(file((tensor(b"x"), tensor(b"y", kind=1000, offset=32))))
    opened = open_tensors(tmp_path / "x")
    assert opened.read(["x"])["x"].tolist() == [0, 0, 0, 0]
    with refuses(BadCheckpoint, "1000", "y"):
        opened.read(["x", "y"])


MEASURE = """
import sys, time
from pathlib import Path
import gguf
from vaekit.formats.open import open_tensors
def peak():  # of this program alone; `resource` counts what its parent had before
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
before, start = peak(), time.process_time()
opened = open_tensors(Path(sys.argv[1]))
assert opened.read(["x"])["x"].tolist() == [0, 0, 0, 0]
print(peak() - before, time.process_time() - start)
"""


def test_long_texts_and_arrays_are_stepped_over(tmp_path: Path) -> None:
    """The package's own reader takes gigabytes for the array."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    many = 30_000_000
    values = (value(b"array", ARRAY, array(UINT8, many, bytes(many))), value(b"text", TEXT, text(b"x" * many)))
    (tmp_path / "x.gguf").write_bytes(file(values=values))
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path / "x.gguf")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, ended.stdout.split())
    assert mebibytes < 40
    assert seconds < 2
