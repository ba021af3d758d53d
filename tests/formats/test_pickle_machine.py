"""The pickle machine: plain values of every protocol, and leftovers of training that stay inert."""

import argparse
import collections
import datetime
import enum
import functools
import pickle
import re
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses
from torch import Tensor, nn

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.pickle_values import Placeholder
from vaekit.formats.torch_files import StoredTensor, open_torch_file

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


def test_a_pickle_may_hold_itself(tmp_path: Path, saved: Saved, read_all: Read) -> None:
    loop: dict[str, object] = {"w": torch.ones(2)}
    loop["state_dict"], loop["list"] = loop, [loop]
    (tmp_path / "x.pt").write_bytes(saved(loop))
    assert read_all(tmp_path / "x.pt")["w"].tolist() == [1, 1]


class Stage(enum.Enum):
    """A leftover of a trainer."""

    FITTING = "fit"

    def __reduce_ex__(self, _: object) -> Any:
        """As Python 3.11.0 writes it."""
        return getattr, (Stage, "FITTING")


class Trainer:
    """With a method that somebody keeps."""

    def step(self) -> None:
        """Does nothing."""


def quantized() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


LEFTOVERS: dict[str, Any] = {
    "a partial of a class": functools.partial(torch.optim.Adam, lr=1e-4),
    "a partial of a partial of a function": functools.partial(
        functools.partial(torch.nn.functional.silu), inplace=True
    ),
    "a bound method": Trainer().step,
    "a member of an enum": Stage.FITTING,
    "a class": torch.optim.AdamW,
    "a whole network": nn.Conv2d(1, 2, 3),
    "a date": datetime.datetime(2022, 10, 1, tzinfo=datetime.UTC),
    "numbers of numpy": [np.float64(0.1), np.int64(3), np.bool_(True), np.dtype("f4")],
    "arrays of numpy": {"rows": np.ones((2, 3)), "words": np.array(["a"]), "order": np.asfortranarray(np.ones((2, 2)))},
    "a generator of numpy": np.random.RandomState(0).get_state(),
    "a generator of torch": torch.get_rng_state(),
    "storages": (torch.ones(3)._typed_storage(), torch.ones(3).untyped_storage()),
    "a range and slices": (range(3), slice(1, 2), ..., NotImplemented, 1 + 2j),
    "a sparse tensor": torch.eye(2).to_sparse(),
    "a quantized tensor": quantized(),
    "a tensor of a subclass": nn.Buffer(torch.ones(2)),
    "a regular expression": re.compile("x"),
    "a counter": collections.Counter("aab"),
}


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", LEFTOVERS)
def test_tensors_are_read_beside_leftovers(
    tmp_path: Path, name: str, new: bool, saved: Saved, read_all: Read, assert_same: Same, awkward_tensors: Tensors
) -> None:
    content = {"before": LEFTOVERS[name], "state_dict": awkward_tensors, "behind": LEFTOVERS[name]}
    (tmp_path / "x.ckpt").write_bytes(saved(content, new))
    assert_same(read_all(tmp_path / "x.ckpt"), awkward_tensors)


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_written_by_pickle_alone_are_called_what_they_are(tmp_path: Path, protocol: int) -> None:
    """Each holds a pickle of its own, whose reader in torch runs what it finds."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"weight": torch.ones(2)}, protocol))
    with refuses(BadCheckpoint, "torch.save"):
        open_tensors(tmp_path / "x.pkl")
