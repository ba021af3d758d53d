"""The pickle machine: plain values of every protocol, and leftovers of training that stay inert."""

import argparse
import collections
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaekit.checkpoints.formats.files import open_tensors
from vaekit.checkpoints.formats.pickled_values import Placeholder
from vaekit.checkpoints.formats.stored_tensors import StoredTensor
from vaekit.checkpoints.formats.torch_files import open_torch_file
from vaekit.errors import BadCheckpoint

Tensors = dict[str, Tensor]
Read = Callable[[Path], Tensors]
Same = Callable[[Tensors, Tensors], None]
Saved = Callable[..., bytes]


def test_values_that_are_no_tensors(tmp_path: Path, saved: Saved) -> None:
    content = {
        "number": -(2**70),
        "text": "\u00e9\n'",
        "raw": b"\0\xff",
        "shape": torch.Size([2, 3]),
        "dtype": torch.float16,
        "sets": ({1, 2}, frozenset({3})),
        "default": collections.defaultdict(list, a=[1]),
        "options": argparse.Namespace(rate=1),
        "path": Path("x"),
        "scalar": np.float64(3),
        "device": torch.device("cpu"),
        1.5: float("inf"),
    }
    expected = content | {
        "shape": (2, 3),
        "default": {"a": [1]},
        "options": Placeholder("argparse.Namespace"),
        "path": Placeholder(f"{type(Path()).__module__}.{type(Path()).__name__}"),
        "device": Placeholder("torch.device"),
    }
    for protocol in (1, 2, 3, 4, 5):
        (tmp_path / "x.pt").write_bytes(saved(content, protocol=protocol))
        read: Any = open_torch_file(tmp_path / "x.pt").content
        assert read.pop("scalar").name.endswith("multiarray.scalar")
        assert read == {key: value for key, value in expected.items() if key != "scalar"}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_of_plain_pickles(tmp_path: Path, protocol: int) -> None:
    content = {"a": [1, 2.5, None, True, "\u20ac"], "b": (1, (2, 3)), "c": {"d": b"\x80\n"}, "e": 10**30, "f": ()}
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(content, protocol))
    assert open_torch_file(tmp_path / "x.pt").content == content


def test_strings_of_python_2(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02(U\x02\xc3\xa9U\x02\xff\xfeS'abc'\nT\x01\0\0\0zt.")
    assert open_torch_file(tmp_path / "x.pt").content == ("\u00e9", "\xff\xfe", "abc", "z")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_lightning_checkpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: bool,
    protocol: int,
    saved: Saved,
    read_all: Read,
    assert_same: Same,
    awkward_tensors: Tensors,
) -> None:
    """Its callbacks are keyed by their classes and hold objects of a package that is not installed."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    callback = type("ModelCheckpoint", (), {"__module__": name})
    hparams = type("AttributeDict", (dict,), {"__module__": name})
    vars(module).update(ModelCheckpoint=callback, AttributeDict=hparams)
    with monkeypatch.context() as patch:
        for step in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, step, types.ModuleType(step))
        patch.setitem(sys.modules, name, module)
        state = callback()
        state.__dict__["best"] = torch.ones(1)
        content = {
            "pytorch-lightning_version": "1.4.2",
            "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "self": state}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
            "hyper_parameters": hparams(rate=np.float32(1), options=argparse.Namespace(a=1)),
            "state_dict": collections.OrderedDict(awkward_tensors),
        }
        (tmp_path / "x.ckpt").write_bytes(saved(content, new, protocol))
    assert_same(read_all(tmp_path / "x.ckpt"), awkward_tensors)
    read: Any = open_torch_file(tmp_path / "x.ckpt").content
    left = Placeholder(f"{name}.ModelCheckpoint")
    assert read["callbacks"][left]["self"] == left
    assert isinstance(read["callbacks"][left]["best_model_score"], StoredTensor)
    assert name not in sys.modules


def test_a_whole_model_is_called_what_it_is(tmp_path: Path, saved: Saved) -> None:
    (tmp_path / "x.pt").write_bytes(saved(nn.Linear(2, 2)))
    with pytest.raises(BadCheckpoint, match=r"object of the class torch\.nn\.modules\.linear\.Linear"):
        open_tensors(tmp_path / "x.pt")


def test_a_pickle_may_hold_itself(tmp_path: Path, saved: Saved, read_all: Read) -> None:
    loop: dict[str, object] = {"w": torch.ones(2)}
    loop["state_dict"], loop["list"] = loop, [loop]
    (tmp_path / "x.pt").write_bytes(saved(loop))
    assert read_all(tmp_path / "x.pt")["w"].tolist() == [1, 1]
