"""Headers of safetensors files that lie."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vaekit.checkpoints.latent_files import load_latent
from vaekit.errors import BadCheckpoint, VaekitError
from vaekit.formats.open import open_tensors
from vaekit.identification.identify import identify


def with_header(header: object, data: bytes = b"\0" * 64) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(**change: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | change


HEADERS: dict[str, bytes] = {
    "length beyond the file": struct.pack("<Q", 10**6) + b"{}",
    "length of 2**63": struct.pack("<Q", 2**63) + b"{}" + b"\0" * 64,
    "length of 2**64 - 1": struct.pack("<Q", 2**64 - 1) + b"{}" + b"\0" * 64,
    "length of zero": struct.pack("<Q", 0) + b"{" + b"\0" * 64,
    "length too small": struct.pack("<Q", 3) + b'{"x": 1}',
    "no JSON": with_header(b"{this is not json}"),
    "no UTF-8": with_header(b'{"\xff\xfe": 1}'),
    "a list": with_header(b"[1, 2, 3]"),
    "nested deeply": with_header(b'{"a":' * 200_000),
    "nested in the metadata": with_header(b'{"__metadata__":' + b"[" * 200_000),
    "nothing": with_header({}),
    "metadata alone": with_header({"__metadata__": {"format": "pt"}}, b""),
    "metadata a number": with_header({"__metadata__": 5, "x": tensor()}),
    "metadata a list": with_header({"__metadata__": ["format"], "x": tensor()}),
    "metadata a text": with_header({"__metadata__": "pt", "x": tensor()}),
    "metadata of numbers": with_header({"__metadata__": {"format": 5}, "x": tensor()}),
    "metadata of objects": with_header({"__metadata__": {"vaekit.normalization": {"shift": [0]}}, "x": tensor()}),
    "entry a number": with_header({"x": 5}),
    "entry a list": with_header({"x": [1, 2]}),
    "entry empty": with_header({"x": {}}),
    "entry null": with_header({"x": None}),
    "shape a text": with_header({"x": tensor(shape="44")}),
    "shape of texts": with_header({"x": tensor(shape=["4"])}),
    "shape a number": with_header({"x": tensor(shape=4)}),
    "shape negative": with_header({"x": tensor(shape=[-4])}),
    "shape two negatives": with_header({"x": tensor(shape=[-2, -2])}),
    "shape a fraction": with_header({"x": tensor(shape=[4.0])}),
    "shape true": with_header({"x": tensor(shape=[True, 4])}),
    "shape huge": with_header({"x": tensor(shape=[2**62, 2**62])}),
    "shape beyond 64 bits": with_header({"x": tensor(shape=[2**70])}),
    "shape of 5000 digits": with_header(b'{"x":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,16]}}'),
    "shape huge and empty": with_header({"encoder.conv_in.weight": tensor(shape=[2**62, 0], data_offsets=[0, 0])}, b""),
    "dtype unknown": with_header({"x": tensor(dtype="F31")}),
    "dtype a number": with_header({"x": tensor(dtype=32)}),
    "dtype a list": with_header({"x": tensor(dtype=["F32"])}),
    "dtype of lower case": with_header({"x": tensor(dtype="f32")}),
    "dtype of a megabyte": with_header({"x": tensor(dtype="F" * 10**6)}),
    "dtype of other bytes than told": with_header({"x": tensor(dtype="F16")}),
    "dtype of four bits in other bytes": with_header({"x": tensor(dtype="F4")}),
    "shape of other bytes than told": with_header({"x": tensor(shape=[5])}),
    "shape overflowing to 4": with_header({"x": tensor(shape=[2**63 + 2, 2])}),
    "shape overflowing to 0": with_header({"x": tensor(shape=[2**32, 2**32], data_offsets=[0, 0])}),
    "shape of a million sides": with_header({"x": tensor(shape=[1] * 10**6)}),
    "shape missing": with_header({"x": {"dtype": "F32", "data_offsets": [0, 16]}}),
    "shape NaN": with_header(b'{"x":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'),
    "offsets three": with_header({"x": tensor(data_offsets=[0, 16, 32])}),
    "offsets fractions": with_header({"x": tensor(data_offsets=[0.0, 16.0])}),
    "offsets of 2**64": with_header({"x": tensor(data_offsets=[0, 2**64])}),
    "offsets of 5000 digits": with_header(b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,' + b"9" * 5000 + b"]}}"),
    "offsets starting late": with_header({"x": tensor(data_offsets=[16, 32])}, b"\0" * 32),
    "the same key twice in an entry": with_header(
        b'{"x":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}', b"\0" * 16
    ),
    "the same key twice in the metadata": with_header(
        b'{"__metadata__":{"a":"1","a":"2"},"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', b"\0" * 16
    ),
    "UTF-16": with_header(json.dumps({"x": tensor()}).encode("utf-16-le"), b"\0" * 16),
    "something after the JSON": with_header(json.dumps({"x": tensor()}).encode() + b"{}", b"\0" * 16),
    "names of control characters beyond ASCII": with_header({"\x9b2J": tensor()}, b"\0" * 16),
    "names that turn the line around": with_header({"\u202ex": tensor()}, b"\0" * 16),
    "metadata of surrogates": with_header(b'{"__metadata__":{"a":"\\udc00"}}', b""),
    "more tensors than any model has": with_header(
        {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_001)}, b""
    ),
    "offsets beyond": with_header({"x": tensor(data_offsets=[0, 1600], shape=[400])}),
    "offsets turned": with_header({"x": tensor(data_offsets=[16, 0])}),
    "offsets negative": with_header({"x": tensor(data_offsets=[-16, 0])}),
    "offsets overlapping": with_header({"x": tensor(), "y": tensor()}, b"\0" * 16),
    "offsets with a gap": with_header({"x": tensor(), "y": tensor(data_offsets=[32, 48])}, b"\0" * 48),
    "offsets short of the end": with_header({"x": tensor()}, b"\0" * 64),
    "the same name twice": with_header(
        b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        b"\0" * 16,
    ),
    "a name of a million letters": with_header({"x" * 10**6: tensor()}, b"\0" * 16),
    "names of control characters": with_header({"\x1b[2J\n\r\0": tensor()}, b"\0" * 16),
    "names of surrogates": with_header(b'{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', b"\0" * 16),
    "a number of 5000 digits in a name": with_header({f"encoder.{'9' * 5000}.weight": tensor()}, b"\0" * 16),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(HEADERS[name])
    for read in (identify, load_latent):
        with pytest.raises(VaekitError) as caught:
            read(tmp_path / "x.safetensors")
        message = str(caught.value)
        assert "\n" not in message
        assert "\x1b" not in message
        assert len(message) < 1000
        assert caught.value.remedy


FINE = ("nothing", "metadata alone", "shape huge and empty")
"""Files that are sound as such, without a VAE."""


@pytest.mark.parametrize("name", sorted(set(HEADERS) - set(FINE)))
def test_a_header_that_lies_is_damage_to_the_format(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(HEADERS[name])
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x")


MEASURE = """
import sys, time
from pathlib import Path
from vaekit.formats.open import open_tensors
from vaekit.errors import BadCheckpoint
def peak():  # of this program alone; `resource` counts what its parent had before
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
before, start = peak(), time.process_time()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_tensors(path)
    except BadCheckpoint:
        continue
    sys.exit(f"{path.name} was read")
print(peak() - before, time.process_time() - start)
"""


def test_headers_that_are_bombs(tmp_path: Path) -> None:
    """What JSON says in three letters takes Python a hundred bytes."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    bombs = {
        "lists": b'{"a":[' + b"[]," * 10**7 + b"[]]}",
        "objects": b'{"a":[' + b"{}," * 400_000 + b"{}]}",
        "zeros": b'{"a":[' + b"0," * 1_400_000 + b"0]}",
        "one text": b'{"__metadata__":{"a":"' + b"x" * 31_000_000 + "\U0001f600".encode() + b'"}}',
        "too long a text": b'{"__metadata__":{"a":"' + b"x" * 40_000_000 + b'"}}',
        "deep": b'{"a":' + b"[" * 10**6,
    }
    for name, header in bombs.items():
        (tmp_path / name).write_bytes(with_header(header))
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, ended.stdout.split())
    assert mebibytes < 450
    assert seconds < 20


def test_names_with_many_dots_take_no_time(tmp_path: Path, opens: Callable[[Path], bool]) -> None:
    dotted = {f"{'a.' * 20_000}{i}": tensor(data_offsets=[16 * i, 16 * i + 16]) for i in range(4)}
    (tmp_path / "x.safetensors").write_bytes(with_header(dotted))
    assert not opens(tmp_path / "x.safetensors")
