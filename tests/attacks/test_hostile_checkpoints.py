"""Hostile and broken weights files: nothing in them runs, and every one ends in a VaekitError that a user can read."""

import collections
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors

from vaekit.checkpoints.families import family_of
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.latents import load_latent
from vaekit.checkpoints.loading import build
from vaekit.errors import BadCheckpoint, UnknownVAE, UnsafePickle, VaekitError
from vaekit.nets.tiny import TinyConfig

# ------------------------------------------------------------------------------------------------- code in pickles


class Call:
    """Pickles as a call of a function: the usual exploit."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.how = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.how


class WithState:
    """An object whose state is set by code of its own class."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["marker"]).touch()


class Ordered(collections.OrderedDict[str, object]):
    """A harmless looking container that pickles as a call."""

    marker = ""

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def exploits(marker: str) -> dict[str, tuple[object, str]]:
    """Each exploit, and a word of the offender's name."""
    code = f"open({marker!r}, 'w').close()"
    ordered = Ordered()
    ordered.marker = marker
    ordered["x"] = torch.ones(1)
    inner = pickle.dumps(Call(os.system, f"touch {marker}"))
    return {
        "os.system": (Call(os.system, f"touch {marker}"), "system"),
        "open": (Call(open, marker, "w"), "open"),
        "exec": (Call(exec, code), "exec"),
        "eval": (Call(eval, code), "eval"),
        "subprocess": (Call(subprocess.check_output, ["touch", marker]), "check_output"),
        "getattr": (Call(getattr, Call(__import__, "os"), "system"), "__import__"),
        "nested": (Call(pickle.loads, inner), "loads"),
        "torch.load": (Call(torch.load, marker), "load"),
        "torch.hub": (Call(torch.hub.load_state_dict_from_url, "file://" + marker), "load_state_dict_from_url"),
        "jit": (Call(torch.jit.load, marker), "load"),
        "numpy": (np.array([Call(os.system, f"touch {marker}")], dtype=object), "system"),
        "ordered": (ordered, "mkdir"),
        "compile": (Call(compile, code, "x", "exec"), "compile"),
    }


NAMES = sorted(exploits(""))


def raw(protocol: int) -> Callable[[object], bytes]:
    return lambda payload: pickle.dumps({"weight": torch.ones(2).tolist(), "x": payload}, protocol)


def by_torch(payload: object, new: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.ones(2)}, "x": payload}, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


WRAPPINGS: dict[str, Callable[[object], bytes]] = {
    "zip": by_torch,
    "legacy": lambda payload: by_torch(payload, new=False),
    "raw 2": raw(2),
    "raw 4": raw(4),
    "raw 5": raw(5),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", NAMES)
def test_code_in_a_pickle_never_runs(tmp_path: Path, name: str, wrapping: str) -> None:
    marker = tmp_path / "marker"
    payload, offender = exploits(str(marker))[name]
    path = tmp_path / "model.ckpt"
    path.write_bytes(WRAPPINGS[wrapping](payload))
    with pytest.raises(UnsafePickle) as caught:
        identify(path)
    assert not marker.exists()
    message = str(caught.value)
    assert offender in message
    assert "safetensors" in message
    assert "\n" not in message
    assert "Traceback" not in message
    assert len(message) < 700


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_an_object_of_an_unknown_class_is_left_alone(tmp_path: Path, wrapping: str) -> None:
    """Its class is not imported, and the tensors beside it are read as if it were not there."""
    payload = WithState()
    payload.__dict__["marker"] = str(tmp_path / "marker")
    (tmp_path / "x.pt").write_bytes(WRAPPINGS[wrapping](payload))
    with pytest.raises(VaekitError) as caught:
        identify(tmp_path / "x.pt")
    assert not (tmp_path / "marker").exists()
    assert isinstance(caught.value, UnknownVAE) == (wrapping in ("zip", "legacy"))


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_pickles_are_no_weights_files(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Call(os.system, f"touch {marker}"), protocol))
    with pytest.raises(BadCheckpoint):
        identify(tmp_path / "x.pt")
    assert not marker.exists()


def test_names_in_a_pickle_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x02cos\n\x1b[2J\x1b[31msystem\n.")
    with pytest.raises(UnsafePickle) as caught:
        identify(tmp_path / "x.pt")
    assert "\x1b" not in str(caught.value)


def test_a_pickle_that_holds_itself(tmp_path: Path) -> None:
    loop: dict[str, object] = {"weight": torch.ones(1)}
    loop["state_dict"] = loop
    (tmp_path / "x.pt").write_bytes(by_torch(loop))
    torch.save(loop, tmp_path / "x.pt")
    with pytest.raises(VaekitError):
        identify(tmp_path / "x.pt")


def test_a_tensor_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    torch.save({"encoder.conv_in.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint, match="claims more numbers"):
        identify(tmp_path / "x.pt")


# ----------------------------------------------------------------------------------------------- small real files


def small_tensors() -> dict[str, torch.Tensor]:
    encoder, decoder = family_of("tiny").build(TinyConfig(3, 1, 2, (1, 1), (1, 1), False))
    halves = {"encoder": encoder, "decoder": decoder}
    return {f"{half}.{key}": tensor for half, net in halves.items() for key, tensor in net.state_dict().items()}


def small_files() -> dict[str, bytes]:
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(small_tensors(), zipped)
    torch.save(small_tensors(), legacy, _use_new_zipfile_serialization=False)
    return {
        "x.safetensors": to_safetensors(small_tensors(), {"format": "pt", "vaekit.frame": "null"}),
        "x.pt": zipped.getvalue(),
        "x.ckpt": legacy.getvalue(),
    }


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return small_files()


def opens(path: Path) -> bool:
    """Whether a file loads; anything but a VaekitError is a failure of the test."""
    try:
        with torch.no_grad():
            build(identify(path))
    except VaekitError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 3000
        return False
    return True


def test_the_small_files_are_whole(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert opens(tmp_path / name)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.ckpt"])
def test_a_file_cut_short_anywhere(tmp_path: Path, files: dict[str, bytes], name: str) -> None:
    content = files[name]
    ends = {*range(0, 40), *range(40, len(content), len(content) // 60), len(content) - 1}
    for end in sorted(ends):
        (tmp_path / name).write_bytes(content[:end])
        assert not opens(tmp_path / name), end


MUTANTS = 100


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Flip, insert or delete a few bytes, mostly near the start or the end, where the structure is."""
    mutant = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.choice((chance.randrange(len(mutant)), chance.randrange(64), -chance.randrange(1, 64)))
        action = chance.randrange(3)
        if action == 0:
            mutant[at] ^= 1 << chance.randrange(8)
        elif action == 1:
            mutant[at:at] = chance.randbytes(chance.randint(1, 4))
        else:
            del mutant[at]
    return bytes(mutant)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.ckpt"])
def test_mutants_load_or_are_refused(tmp_path: Path, files: dict[str, bytes], name: str) -> None:
    chance = random.Random(20261121)
    opened = 0
    for _ in range(MUTANTS):
        (tmp_path / name).write_bytes(mutate(files[name], chance))
        opened += opens(tmp_path / name)
    assert opened < MUTANTS


# ------------------------------------------------------------------------------------------- headers of safetensors


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
    "metadata of objects": with_header({"__metadata__": {"vaekit.frame": {"shift": [0]}}, "x": tensor()}),
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


def test_names_with_many_dots_take_no_time(tmp_path: Path) -> None:
    dotted = {f"{'a.' * 20_000}{i}": tensor(data_offsets=[16 * i, 16 * i + 16]) for i in range(4)}
    (tmp_path / "x.safetensors").write_bytes(with_header(dotted))
    assert not opens(tmp_path / "x.safetensors")


# -------------------------------------------------------------------------------------------------------- odd zips


def zip_bytes(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ZIPS: dict[str, bytes] = {
    "empty": zip_bytes({}),
    "of documents": zip_bytes({"word/document.xml": b"<w/>"}),
    "without data": zip_bytes({"archive/data.pkl": pickle.dumps({"x": 1}, 2)}),
    "with a broken pickle": zip_bytes({"archive/data.pkl": b"\x80\x02garbage", "archive/version": b"3"}),
    "with an empty pickle": zip_bytes({"archive/data.pkl": b"", "archive/version": b"3"}),
    "a bomb": zip_bytes({"archive/data.pkl": b"\0" * 10**7, "archive/version": b"3"}, zipfile.ZIP_DEFLATED),
    "of climbing names": zip_bytes({"../../data.pkl": b"\x80\x02}.", "../version": b"3"}),
    "of many entries": zip_bytes({f"archive/data/{i}": b"" for i in range(3000)}),
    "with an impossible count": zip_bytes({"archive/data.pkl": b"x"})[:-14] + b"\xff\xff\xff\xff" + b"\xff" * 10,
    "with a start alone": b"PK\x03\x04",
    "of zeros": b"PK\x03\x04" + b"\0" * 1000,
    "TorchScript": zip_bytes(
        {"archive/constants.pkl": b"\x80\x02).", "archive/data.pkl": b"\x80\x02}.", "archive/version": b"3"}
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_that_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(ZIPS[name])
    with pytest.raises(BadCheckpoint) as caught:
        identify(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_inside_a_zip_that_lies_about_a_length(tmp_path: Path, files: dict[str, bytes]) -> None:
    """The pickle asks for more numbers than its record has."""
    content = files["x.pt"]
    (tmp_path / "x.pt").write_bytes(content.replace(b"K\x02K\x03K\x03K\x03t", b"K\x02K\x03K\x03K\xfft"))
    assert not opens(tmp_path / "x.pt")


# ------------------------------------------------------------------------------------- full disks, killed processes

SAVE = """
import os, resource, signal, sys
from pathlib import Path
import torch
from vaekit.checkpoints.families import assemble, family_of
from vaekit.checkpoints.latents import LatentFile, LatentSpace, save_latent
from vaekit.checkpoints.saving import save
from vaekit.distributions import Point
from vaekit.errors import CannotWrite
from vaekit.nets.kl import KLConfig

what, place, trouble = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
family = family_of("kl")
vae = assemble(family, KLConfig(3, 4, 4, (32, 32), (32, 32), 1, 2, (), (), False, True, True, 32))
if trouble == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
else:
    def die(*_): os.kill(os.getpid(), signal.SIGKILL)
    os.replace = die
try:
    if what == "latent":
        space = LatentSpace("a" * 64, "kl", 4, 8, None)
        save_latent(place, LatentFile(Point(torch.zeros(1, 4, 256, 256)), space, 2048, 2048))
    else:
        save(vae, place, what)
except CannotWrite as error:
    print(error)
    sys.exit(7)
"""
PLACES = {"native": "x.safetensors", "latent": "x.safetensors", "diffusers": "folder"}


def run_save(what: str, folder: Path, trouble: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", SAVE, what, str(folder / PLACES[what]), trouble]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", PLACES)
def test_a_full_disk(tmp_path: Path, what: str) -> None:
    if what != "diffusers":
        (tmp_path / "x.safetensors").write_text("old")
    ended = run_save(what, tmp_path, "full")
    assert (ended.returncode, ended.stderr) == (7, "")
    assert "Could not write" in ended.stdout
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == ({} if what == "diffusers" else {"x.safetensors": "old"})


@pytest.mark.parametrize("what", ["native", "diffusers"])
def test_a_kill_during_a_save(tmp_path: Path, what: str) -> None:
    if what == "native":
        (tmp_path / "x.safetensors").write_text("old")
    assert run_save(what, tmp_path, "kill").returncode == -9
    assert not (tmp_path / "folder").exists()
    if what == "native":
        assert (tmp_path / "x.safetensors").read_text() == "old"
