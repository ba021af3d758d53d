"""Code in pickles: it never runs, and the message names it."""

import collections
import copyreg
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses

from vaekit.errors import BadCheckpoint, UnknownVAE, UnsafePickle, VaekitError
from vaekit.formats.open import open_tensors
from vaekit.formats.pickle_values import Placeholder
from vaekit.formats.torch_files import open_torch_file
from vaekit.identification.identify import identify


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
        "numpy": (np.array([Call(os.system, f"touch {marker}")], dtype=object), "system"),
        "ordered": (ordered, "mkdir"),
        "compile": (Call(compile, code, "x", "exec"), "compile"),
    }


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
def test_code_in_a_pickle_never_runs(tmp_path: Path, wrapping: str) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "model.ckpt"
    for name, (payload, offender) in exploits(str(marker)).items():
        path.write_bytes(WRAPPINGS[wrapping](payload))
        with refuses(UnsafePickle, "safetensors") as caught:
            identify(path)
        assert not marker.exists(), name
        message = str(caught.value)
        assert offender in message, name
        assert message.isprintable() and "Traceback" not in message
        assert len(message) < 700


def test_functions_of_torch_are_leftovers_and_are_not_called(tmp_path: Path) -> None:
    """They are somebody else's to judge: here they become placeholders, and the weights beside them are read."""
    marker = tmp_path / "marker"
    marker.write_bytes(pickle.dumps(Call(os.mkdir, str(tmp_path / "made"))))
    for call in (
        Call(torch.load, str(marker)),
        Call(torch.hub.load_state_dict_from_url, f"file://{marker}"),
        Call(torch.jit.load, str(marker)),
    ):
        (tmp_path / "x.pt").write_bytes(by_torch(call))
        file = open_tensors(tmp_path / "x.pt")
        assert file.read(["weight"])["weight"].tolist() == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marker", "x.pt"]


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


# ------------------------------------------------------------------------------------ programs for the pickle machine

SYSTEM = b"cos\nsystem\n"
TEXT = b"X\x04\0\0\0true"
PROGRAMS = {
    "a reduce": SYSTEM + TEXT + b"\x85R.",
    "a name alone": SYSTEM + b".",
    "a name that is dropped": SYSTEM + b"0}.",
    "a name behind a container": b"}X\x01\0\0\0x" + SYSTEM + b"s.",
    "a name as a key": b"}" + SYSTEM + b"Ns.",
    "a name in the memory": SYSTEM + b"q\x000h\x00" + TEXT + b"\x85R.",
    "a name from the stack": b"\x8c\x02os\x8c\x06system\x93" + TEXT + b"\x85R.",
    "a name from the memory": b"\x8c\x06systemq\x01\x8c\x02os0h\x01\x8c\x02osq\x020h\x02h\x01\x93.",
    "a name in escapes": b"Vo\\u0073\nVsyste\\u006d\n\x93.",
    "a name of Python 2": b"U\x02osU\x06system\x93.",
    "a name of Python 2 in quotes": b"S'o\\x73'\nS'system'\n\x93.",
    "a path of attributes": b"\x8c\x05torch\x8c\x09os.system\x93" + TEXT + b"\x85R.",
    "a path through dunders": b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
    "a path in the old way": b"ctorch.serialization\nos.system\n.",
    "an instance by INST": b"(" + TEXT + b"ios\nsystem\n.",
    "an instance by OBJ": b"(" + SYSTEM + TEXT + b"o.",
    "an instance by NEWOBJ": SYSTEM + TEXT + b"\x85\x81.",
    "an instance by NEWOBJ_EX": SYSTEM + TEXT + b"\x85}\x92.",
    "a function as a state": b"cargparse\nNamespace\n)R}X\x0c\0\0\0__setstate__" + SYSTEM + b"sb.",
    "a state behind a state": b"cargparse\nNamespace\n)RN}X\x01\0\0\0x" + SYSTEM + b"s\x86b.",
    "a hook of a tensor": b"ctorch._utils\n_rebuild_parameter\n(N\x89" + SYSTEM + b"tR.",
    "a builder of a tensor subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(" + SYSTEM + b"NNNtR.",
    "a factory of a defaultdict": b"ccollections\ndefaultdict\n" + SYSTEM + b"\x85R.",
    "a map": b"cbuiltins\nmap\n" + SYSTEM + b"]" + TEXT + b"a\x86R.",
    "a partial": b"cfunctools\npartial\n" + SYSTEM + TEXT + b"\x86R)R.",
    "an attribute of a module": b"cbuiltins\ngetattr\nctorch\nserialization\nX\x09\0\0\0os.system\x86R.",
    "an attribute that is code": b"cbuiltins\ngetattr\ncmy.package\nThing\nX\x0b\0\0\0__globals__\x86R.",
    "an attribute of an attribute": (
        b"cbuiltins\ngetattr\n(c__builtin__\ngetattr\n(cmy\nx\nX\x02\0\0\0ostRX\x06\0\0\0systemtR."
    ),
    "a method": b"coperator\nmethodcaller\nX\x06\0\0\0system\x85R.",
    "a pickle in a pickle": b"c_pickle\nloads\nB" + b"\x0b\0\0\0" + b"cos\nsystem\n" + b"\x85R.",
    "a name in a persistent id": b"(X\x07\0\0\0storage" + SYSTEM + b"X\x01\0\0\x000NK\x00tQ.",
    "a module with its source": b"(X\x06\0\0\0module" + SYSTEM + b"X\x01\0\0\0xX\x01\0\0\0ytQ.",
    "a protocol in the middle": b"\x80\x04" + SYSTEM + b"\x80\x02.",
    "a frame that lies": b"\x95" + b"\xff" * 7 + b"\x00" + SYSTEM + b".",
}
INERT = {
    "an extension code": b"\x82\x01" + TEXT + b"\x85R.",
    "extension codes of all sizes": b"(\x82\x01\x83\x02\0\x84\x03\0\0\x00l.",
    "a call of a text": TEXT + b")R.",
    "a call of a number": b"K\x05)R.",
    "a call of a call": b"cmy\nx\n)R)R)R.",
    "an instance of nothing": b"N)\x81.",
    "a state for a dictionary": b"}}X\x07\0\0\0__len__Nsb.",
    "a state for a number": b"K\x01}b.",
    "a state for a class": b"cmy\nThing\n}X\x0c\0\0\0__setstate__Nsb.",
    "a partial of a class": b"cfunctools\npartial\ncmy\nThing\n\x85R(cmy\nThing\n)}Ntb.",
    "a bound method": b"cbuiltins\ngetattr\ncmy\nThing\n)RX\x04\0\0\0step\x86R.",
    "a member of an enum": b"cbuiltins\ngetattr\ncmy\nColor\nX\x03\0\0\0RED\x86R.",
    "getattr of a text": b"cbuiltins\ngetattr\nX\x01\0\0\0xX\x01\0\0\0y\x86R.",
    "storages in a pickle of their own": b"ctorch.storage\n_load_from_bytes\nC\x0bcos\nsystem\n\x85R.",
    "a persistent id of one number": b"K\x05Q.",
    "a persistent id of nothing": b")Q.",
    "a persistent id in text": b"Pstorage\n.",
    "a persistent id that holds itself": b"]\x94h\x00ah\x00Q.",
    "a second pickle behind the end": b"}." + SYSTEM + b".",
    "arrays of numpy": (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nX\x02\0\0\0f4\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08"
        b"\0\0\0\0\0\0\0\0tb."
    ),
}
DAMAGED = {
    "a buffer from elsewhere": b"\x97.",
    "a buffer made read-only": b"\x98.",
    "an empty stack": b"R.",
    "an empty stack behind a mark": b"(R.",
    "a mark as a function": b"()R.",
    "an instance of an empty mark": b"(o.",
    "a memory of nothing": b"q\x00.",
    "names that are no text": b"K\x01K\x02\x93.",
    "no end": b"}",
    "an operation that there is not": b"\xf0.",
    "a persistent id without a storage": b"(X\x07\0\0\0storageNNNNtQ.",
    "a storage of a class that is none": b"(X\x07\0\0\0storagecmy\nFloatStorage\nX\x01\0\0\x000NK\x00tQ.",
}


def as_zip(program: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x04" + program)
    return buffer.getvalue()


def test_a_program_that_names_code_is_refused(tmp_path: Path) -> None:
    for name, program in PROGRAMS.items():
        for content in (as_zip(program), b"\x80\x04" + program):
            (tmp_path / "x.pt").write_bytes(content)
            assert failure(tmp_path / "x.pt") is UnsafePickle, name


def test_a_program_that_names_none_makes_placeholders(tmp_path: Path) -> None:
    for name, program in INERT.items():
        (tmp_path / "x.pt").write_bytes(as_zip(program))
        held: Any = open_torch_file(tmp_path / "x.pt").content
        for value in held if isinstance(held, list) else [held]:
            assert value in ({}, 1) or isinstance(value, Placeholder), name
        assert failure(tmp_path / "x.pt") is BadCheckpoint, name


def test_a_program_that_cannot_be_run_is_damage(tmp_path: Path) -> None:
    for name, program in DAMAGED.items():
        (tmp_path / "x.pt").write_bytes(as_zip(program))
        assert failure(tmp_path / "x.pt") is BadCheckpoint, name


def failure(path: Path) -> type[Exception] | None:
    """The class of the error that opening a file gives."""
    try:
        open_tensors(path)
    except VaekitError as error:
        return type(error)
    return None


def test_a_registered_extension_is_not_looked_up(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 1)
    try:
        (tmp_path / "x.pt").write_bytes(as_zip(INERT["an extension code"]))
        assert open_torch_file(tmp_path / "x.pt").content == Placeholder("extension 1")
    finally:
        copyreg.remove_extension("os", "system", 1)
