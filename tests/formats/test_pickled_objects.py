"""Pickles without named tensors are called what they hold."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses
from torch import nn

import vaekit
from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.pickled_objects import is_model
from vaekit.vae import VAE

CONTENTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a model": (nn.Linear(2, 2), ("torch.nn.modules.linear.Linear", "state_dict")),
    "a model in a dictionary": ({"epoch": 3, "model": nn.Conv2d(1, 1, 1)}, ("torch.nn.modules.conv.Conv2d",)),
    "a tensor": (torch.ones(4, 8), ("1 tensor", "4, 8")),
    "a list": ([torch.ones(3), torch.ones(2)], ("2 tensors",)),
    "counters": ({"epoch": 1, "lr": 0.1}, ("epoch", "lr")),
    "a number": (5, ("int",)),
    "arrays": ({"encoder.weight": np.ones(3)}, ("numpy", "numpy.savez")),
    "a list of arrays": ({"arrays": np.ones((2, 2)), "epoch": 3}, ("numpy", "numpy.savez")),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_named(name: str, tmp_path: Path) -> None:
    content, facts = CONTENTS[name]
    torch.save(content, tmp_path / "x.pt")
    with refuses(BadCheckpoint, *facts) as caught:
        open_tensors(tmp_path / "x.pt")
    assert "again" not in str(caught.value)


class Quantized(torch.Tensor):
    """A tensor that is pickled as those of torchao are: by its class, its shape and the tensors inside."""

    @staticmethod
    def __new__(cls: type["Quantized"], values: torch.Tensor) -> "Quantized":
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=torch.float32)

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values.to(torch.int8)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0]


Quantized.__module__, Quantized.__qualname__ = "torchao.dtypes", "AffineQuantizedTensor"


@pytest.fixture
def torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchao", "torchao.dtypes"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["torchao.dtypes"].AffineQuantizedTensor = Quantized  # type: ignore[attr-defined]


@pytest.mark.usefixtures("torchao")
def test_tensors_of_other_classes_are_named(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    kernels = {name: Quantized(tensor) for name, tensor in kl_vae.state_dict().items() if name.endswith("conv1.weight")}
    torch.save({"state_dict": kl_vae.state_dict() | kernels}, path)
    with refuses(BadCheckpoint, len(kernels), "torchao.dtypes.AffineQuantizedTensor", next(iter(kernels))):
        vaekit.load(path)
    torch.save({"model": kernels}, path)
    with refuses(BadCheckpoint, "torchao.dtypes.AffineQuantizedTensor", "dequantize"):
        open_tensors(path)
    torch.save(kl_vae.state_dict() | {"optimizer.x": next(iter(kernels.values()))}, path)
    vaekit.load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_of_torchs_quantizer_are_named(kl_vae: VAE, tmp_path: Path) -> None:
    path, quantized = tmp_path / "x.pt", torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8)
    torch.save(kl_vae.state_dict() | {"decoder.conv_in.weight": quantized}, path)
    with refuses(BadCheckpoint, "quantizer", "decoder.conv_in.weight"):
        vaekit.load(path)


def test_pythons_own_classes_are_no_models() -> None:
    assert is_model("diffusers.models.autoencoders.AutoencoderKL")
    assert not is_model("collections.Counter")
    assert not is_model("object")
