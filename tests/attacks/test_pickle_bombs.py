"""Pickles that ask for more memory, time or depth than there is."""

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vaekit.checkpoints.formats.files import open_tensors
from vaekit.checkpoints.formats.pickles import MOST_WORK
from vaekit.checkpoints.formats.torch_files import MAGIC_NUMBER
from vaekit.errors import BadCheckpoint, UnsafePickle


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
READ_ALL = """
import resource, sys
from pathlib import Path
from vaekit.checkpoints.formats.files import open_tensors
from vaekit.errors import BadCheckpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_tensors(path)
    except BadCheckpoint as error:
        print(path.stem, "|", error)
print("MiB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_pickles_that_are_heavy_bombs(tmp_path: Path) -> None:
    """In a process of their own: what fills the stack of C ends the process, and its memory can be measured."""
    pytest.importorskip("resource")
    for name, pickled in HEAVY.items():
        (tmp_path / f"{name}.pt").write_bytes(zipped(pickled, {}))
    ended = subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    *refused, used = ended.stdout.splitlines()
    assert [line.split(" | ")[0] for line in refused] == sorted(HEAVY, key="{}.pt".format)
    assert sum("steps" in line for line in refused) == 3
    assert int(used.split()[1]) < 700
