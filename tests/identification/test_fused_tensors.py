"""Tensors that a layout keeps as one: presented in parts, joined again, read once."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vaekit.families import Layout
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification.fused_tensors import join_parts, present_parts
from vaekit.identification.weights import piece_in_memory

LAYOUT = Layout(
    "x",
    "kl",
    (("{i}.q.{p}", "{i}.qkv.{p}[0/3]"), ("{i}.k.{p}", "{i}.qkv.{p}[1/3]"), ("{i}.v.{p}", "{i}.qkv.{p}[2/3]")),
)


def file_of(tensors: dict[str, Tensor], reads: list[list[str]]) -> TensorFile:
    """A file that writes down what is read from it."""

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        reads.append(sorted(names))
        return {name: tensors[name] for name in reads[-1]}

    specs = {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    return TensorFile(Path("any"), "safetensors", {}, specs, read)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["", "some.prefix."])
def test_parts_stand_in_for_the_whole_and_back(prefix: str, dtype: torch.dtype) -> None:
    whole = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    reads: list[list[str]] = []
    held = {f"{prefix}2.qkv.weight": whole, "other": torch.zeros(1)}
    seen = present_parts(file_of(held, reads), LAYOUT)
    parts = [f"{prefix}2.qkv.weight[{i}/3]" for i in range(3)]
    assert set(seen.specs) == {*parts, "other"}
    assert seen.specs[parts[1]] == TensorSpec((2, 4), dtype)
    assert reads == []
    read = seen.read(reversed([*parts, "other"]))
    assert reads == [sorted(held)]
    assert torch.equal(read[parts[1]], whole[2:4])
    pieces = [piece_in_memory(name, tensor) for name, tensor in read.items()]
    joined = {piece.name: piece.tensor() for piece in join_parts(pieces)}
    assert joined.keys() == held.keys()
    assert all(torch.equal(joined[name], tensor) for name, tensor in held.items())


def test_one_part_alone_can_be_read() -> None:
    whole = torch.arange(9.0)
    seen = present_parts(file_of({"0.qkv.bias": whole}, []), LAYOUT)
    assert seen.read(["0.qkv.bias[2/3]"])["0.qkv.bias[2/3]"].tolist() == [6, 7, 8]


@pytest.mark.parametrize("shape", [(7, 2), ()])
def test_what_cannot_be_cut_stays_whole(shape: tuple[int, ...]) -> None:
    file = file_of({"0.qkv.weight": torch.zeros(shape)}, [])
    assert present_parts(file, LAYOUT) is file


def test_a_file_that_has_both_the_whole_and_a_part_is_left_as_it_is() -> None:
    """Only a file made to deceive has such names."""
    file = file_of({"0.qkv.weight": torch.zeros(3), "0.qkv.weight[0/3]": torch.ones(1)}, [])
    assert present_parts(file, LAYOUT) is file


def test_a_layout_without_parts_sees_the_file_itself() -> None:
    file = file_of({"0.qkv.weight": torch.zeros(3)}, [])
    assert present_parts(file, Layout("y", "kl", (("{i}.a.{p}", "{i}.qkv.{p}"),))) is file
