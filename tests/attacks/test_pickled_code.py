"""Code in pickles: it never runs, and the message names it."""

import collections
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaekit.checkpoints.identify import identify
from vaekit.errors import BadCheckpoint, UnknownVAE, UnsafePickle, VaekitError


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
