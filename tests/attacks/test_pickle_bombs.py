"""Pickles that ask for more memory, time or depth than there is."""

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vaekit.errors import BadCheckpoint, UnsafePickle
from vaekit.formats.open import open_tensors
from vaekit.formats.pickle_machine import MOST_WORK
from vaekit.formats.torch_files import MAGIC_NUMBER


def zipped(pickled: bytes, records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ({"data.pkl": pickled} | records).items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


BOMBS = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "an empty stack": b"\x80\x02.",
    "a mark missing": b"\x80\x02e.",
    "a memory missing": b"\x80\x02h\x05.",
    "protocol 200": b"\x80\xc8}.",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a text of 2**62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "bytes of 2**62 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a bytearray of 2**62 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "a number of 10,000 digits": b"L" + b"9" * 10_000 + b"L\n.",
    "a number of 10,000 bits": b"\x80\x02\x8b\xe2\x04\0\0" + b"\x7f" * 1250 + b".",
    "a line of a megabyte": b"c" + b"a" * 10**6 + b"\nb\n.",
    "out of band": b"\x80\x05\x97.",
    "an odd number of items": b"\x80\x02}(K\x01K\x02K\x03u.",
    "keys for a list": b"\x80\x02](K\x01K\x02u.",
    "a name of numbers": b"\x80\x04K\x01K\x02\x93.",
    "a subclass of a subclass": (b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00)" + b"(h\x001NNt" * 3 + b"R."),
}


@pytest.mark.parametrize("kind", ["zip", "old"])
@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_are_bombs(tmp_path: Path, name: str, kind: str) -> None:
    old = pickle.dumps(MAGIC_NUMBER, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + BOMBS[name]
    (tmp_path / "x.pt").write_bytes(old if kind == "old" else zipped(BOMBS[name], {}))
    with pytest.raises(BadCheckpoint) as caught:
        open_tensors(tmp_path / "x.pt")
    assert not isinstance(caught.value, UnsafePickle)
    assert "\n" not in str(caught.value)


HEAVY = {
    "deep lists": b"\x80\x02" + b"]" * 150_000 + b"a" * 149_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 150_000 + b".",
    "deep tuples as a key": b"\x80\x02})" + b"\x85" * 150_000 + b"Ns.",
    "deep tuples in a set": b"\x80\x04(\x8f()" + b"\x85" * 150_000 + b"\x90\x91.",
    "doubling tuples as a key": b"\x80\x02})" + b"2\x86" * 200 + b"Ns.",
    "more steps than there may be": b"\x80\x02" + b"]" * (MOST_WORK + 10) + b".",
    "copies of a long list": b"\x80\x02ctorch\nSize\nq\x00]("
    + b"N" * 10_000
    + b"e\x85q\x01"
    + b"h\x00h\x01R" * 1000
    + b".",
    "copies of a long text": (
        b"\x80\x02c_codecs\nencode\nq\x00X"
        + struct.pack("<I", 10**6)
        + b"a" * 10**6
        + b"\x85q\x01"
        + b"h\x00h\x01R" * 1000
    ),
}
MODULUS = 2**61 - 1
"""Python's hash of a whole number is what is left of it after division by this."""


def long_1(number: int) -> bytes:
    return b"\x8a\x0c" + number.to_bytes(12, "little", signed=True)


LARGE = b"X" + struct.pack("<I", 4 * 10**6) + b"a" * (4 * 10**6)
HEAVY |= {
    "numbers of one hash": b"\x80\x02}(" + b"".join(long_1(i * MODULUS) + b"N" for i in range(1, 50_000)) + b"u.",
    "numbers of one hash in a set": b"\x80\x04\x8f("
    + b"".join(long_1(i * MODULUS) for i in range(1, 50_000))
    + b"\x90.",
    "equal long keys": b"\x80\x02}"
    + b"q\x00"
    + (LARGE + b"Ns") * 4
    + b"("
    + LARGE
    + b"q\x01"
    + b"Nh\x01N" * 30_000
    + b"Nu.",
    "a name of megabytes": b"\x80\x04" + LARGE + b"q\x00" + b"h\x00\x93" * 100_000 + b".",
    "long names": b"\x80\x04X" + struct.pack("<I", 1900) + b"a" * 1900 + b"q\x00" + b"h\x00h\x00\x93" * 300_000 + b".",
    "1,900 letters 300,000 times": (
        b"\x80\x04X"
        + struct.pack("<I", 1900)
        + b"a" * 1900
        + b"q\x00X\x01\0\0\0bq\x01"
        + b"h\x00h\x01\x93" * 300_000
        + b"."
    ),
    "persistent ids of a long list": b"\x80\x02(" + b"N" * 50_000 + b"tq\x00" + b"h\x00Q" * 100_000 + b".",
    "200 MB of text": b"\x80\x02" + LARGE * 50 + b".",
    "placeholders": b"\x80\x02" + b"\x82\x01" * 600_000 + b".",
    "sets": b"\x80\x04" + b"\x8f" * 600_000 + b".",
    "a memory of everything": b"\x80\x04" + b"}\x94" * 600_000 + b".",
}
READ_ALL = """
import sys
from pathlib import Path
import time
from vaekit.formats.open import open_tensors
from vaekit.errors import BadCheckpoint
def peak():  # of this program alone; `resource` counts what its parent had before
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        open_tensors(path)
    except BadCheckpoint as error:
        print(path.stem, "|", round(time.process_time() - start, 2), "|", error)
print("MiB", peak() - before)
"""


@pytest.mark.nightly
def test_pickles_that_are_heavy_bombs(tmp_path: Path) -> None:
    """In a process of their own: what fills the stack of C ends the process, and its memory can be measured."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    for name, pickled in HEAVY.items():
        (tmp_path / f"{name}.pt").write_bytes(zipped(pickled, {}))
    ended = subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    *refused, used = ended.stdout.splitlines()
    assert [line.split(" | ")[0] for line in refused] == sorted(HEAVY, key="{}.pt".format)
    assert sum("steps" in line for line in refused) >= 3
    assert max(float(line.split(" | ")[1]) for line in refused) < 15
    assert int(used.split()[1]) < 400
