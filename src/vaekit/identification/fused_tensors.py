"""Split and join tensors that a layout stores fused; its templates name the parts: `qkv.conv.weight[0/3]`.

Parts have equal sizes and are concatenated along the first axis. On reading, a file is presented as if it held the
parts; on writing, the parts are joined again, bit for bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaekit.families import Layout
from vaekit.families.layout import PART
from vaekit.formats.safetensors_writer import Piece
from vaekit.formats.tensor_file import Span, TensorFile, TensorSpec


@dataclass(frozen=True)
class Part:
    """A slice of a tensor in a file along its first axis."""

    whole: str
    number: int
    count: int


def present_parts(file: TensorFile, layout: Layout) -> TensorFile:
    """Present a file with the fused tensors of a layout as separate parts.

    A tensor that cannot be split evenly stays whole. A tensor is read once, regardless of the number of its parts.
    """
    counts = parts_in(file, layout)
    if not counts:
        return file
    parts = {f"{key}[{i}/{count}]": Part(key, i, count) for key, count in counts.items() for i in range(count)}
    whole = {key: spec for key, spec in file.specs.items() if key not in counts}
    cut = {name: first_part(file.specs[part.whole], part.count) for name, part in parts.items()}

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        tensors = file.read({parts[name].whole if name in parts else name for name in requested})
        return {
            name: take(tensors[parts[name].whole], parts[name]) if name in parts else tensors[name]
            for name in requested
        }

    def span(name: str) -> Span | None:
        return None if name in parts else file.span(name)

    return replace(file, specs=whole | cut, read=read, span=span)


def parts_in(file: TensorFile, layout: Layout) -> dict[str, int]:
    """The keys of fused tensors in a file, with the number of their parts."""
    counts = {}
    for key, spec in file.specs.items() if layout.fused else ():
        count = next((count for pattern, count in layout.fused if pattern.fullmatch(key)), 0)
        if count and spec.shape and spec.shape[0] % count == 0 and f"{key}[0/{count}]" not in file.specs:
            counts[key] = count
    return counts


def first_part(spec: TensorSpec, count: int) -> TensorSpec:
    return replace(spec, shape=(spec.shape[0] // count, *spec.shape[1:]))


def take(whole: Tensor, part: Part) -> Tensor:
    return whole.chunk(part.count)[part.number] if len(whole) else whole


def join_parts(pieces: Iterable[Piece]) -> list[Piece]:
    """Join parts, in the order of their numbers, into the fused tensors that a layout stores."""
    joined: list[Piece] = []
    numbered: dict[str, dict[int, Piece]] = {}
    for piece in pieces:
        match = PART.fullmatch(piece.name)
        if match is None:
            joined.append(piece)
        else:
            numbered.setdefault(match["whole"], {})[int(match["number"])] = piece
    return joined + [one_of(whole, [parts[i] for i in sorted(parts)]) for whole, parts in numbered.items()]


def one_of(name: str, parts: Sequence[Piece]) -> Piece:
    """The tensor that consists of these parts."""
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    return Piece(name, shape, parts[0].dtype, lambda: torch.cat([part.tensor() for part in parts]))


def whole_key(name: str) -> str:
    """The key in the file of a tensor or of the tensor that a part belongs to."""
    match = PART.fullmatch(name)
    return match["whole"] if match else name
