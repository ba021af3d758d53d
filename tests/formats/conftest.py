"""Files as torch writes them, and what vaekit reads from a file."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vaekit.formats.open import open_tensors

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64, torch.complex128),
]
Tensors = dict[str, Tensor]


@pytest.fixture
def awkward_tensors() -> Tensors:
    """Tensors tied, turned, strided, empty, repeated, and of every dtype with a class of storage of its own."""
    base = torch.arange(60.0).reshape(3, 4, 5)
    return {
        "plain": base,
        "tied": base,
        "turned": base.transpose(0, 2),
        "strided": base[:, ::2, 1:],
        "shifted": base[1:],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "repeated": torch.ones(1).expand(3),
        "parameter": nn.Parameter(torch.ones(2)),
        **{str(dtype): torch.tensor([0, 1, 1, 0, 1]).to(dtype) for dtype in DTYPES},
    }


def saved(content: object, new: bool = True, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


@pytest.fixture(name="saved")
def saved_fixture() -> Callable[..., bytes]:
    """What `torch.save` writes: (content, new zip format or the old one, protocol)."""
    return saved


def read_all(path: Path) -> Tensors:
    file = open_tensors(path)
    read = file.read(file.specs)
    assert all((spec.shape, spec.dtype) == (read[name].shape, read[name].dtype) for name, spec in file.specs.items())
    return read


@pytest.fixture(name="read_all")
def read_all_fixture() -> Callable[[Path], Tensors]:
    """Every tensor of a file, each seen to be what was said of it before."""
    return read_all


def assert_same(ours: Tensors, theirs: Tensors) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(ours[name].cpu(), tensor.detach()), name
        assert tensor.numel() == 0 or ours[name].stride() == tensor.stride(), name


@pytest.fixture(name="assert_same")
def assert_same_fixture() -> Callable[[Tensors, Tensors], None]:
    """Same names, order, dtypes, shapes, numbers and strides."""
    return assert_same
