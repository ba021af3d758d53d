"""Weights files on disk -> named tensors, without running anything that is in them.

The format is read from the first bytes, never from the file's name. A safetensors file is mapped into memory: only its
header is read until tensors are asked for. So is a pickle (.pt, .pth, .ckpt, .bin): `pickles` reads it without
importing or calling anything that it names, `torch_files` knows where torch puts the numbers.
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaekit.checkpoints.formats.pickled_values import Placeholder
from vaekit.checkpoints.formats.stored_tensors import StoredTensor
from vaekit.checkpoints.formats.torch_files import DAMAGE, OLD_STARTS, ZIP_START, open_torch_file
from vaekit.errors import BadCheckpoint, NotFound, legible

LARGEST_HEADER = 100_000_000
"""Bytes: the limit that the safetensors library sets itself."""

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

WRAPPERS = ("state_dict", "model", "module", "params_ema", "params", "vae")
"""Names under which training programs keep the weights in a checkpoint, one level down."""

METADATA = "vaekit"
"""The name under which vaekit keeps its own metadata in a checkpoint of torch."""
DEEPEST = 8
"""Dots in the name that leads to a dictionary in which tensors are still looked for."""


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Span:
    """Bytes of a file."""

    path: Path
    start: int
    length: int


def no_span(_: str) -> Span | None:
    """The answer of a format in which no tensor stands as it is."""
    return None


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file: what they are, and a way to read some of them."""

    path: Path
    format: str
    """"safetensors" or "pickle"."""
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    read: Callable[[Iterable[str]], dict[str, Tensor]]
    span: Callable[[str], Span | None] = no_span
    """Where the numbers of a tensor stand in the file, row by row and little-endian; None where they do not."""
    others: tuple[str, ...] = ()
    """Names of what is in the file beside tensors and metadata."""


def open_tensors(path: Path) -> TensorFile:
    """Open a weights file of any supported format.

    Raises:
        NotFound: no such file.
        BadCheckpoint: the file is empty, damaged, or not a weights file.
        UnsafePickle: a pickle that names what only serves to run code.
    """
    start = _first_bytes(path)
    if start[8:9] == b"{":
        return _open_safetensors(path)
    if start.startswith((ZIP_START, *OLD_STARTS)):
        return _open_pickle(path)
    raise BadCheckpoint(
        f"{path} is not a weights file: it starts with {start[:8]!r}." if start else f"{path} is empty (0 bytes).",
        "Expected safetensors, or a torch checkpoint (.pt, .pth, .ckpt, .bin).",
        "Check that the download finished and that this is the file you meant.",
    )


def is_there(path: Path) -> bool:
    """Whether anything is at this path; a path that cannot be is not there."""
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than the system allows, or holding a NUL
        return False


def _first_bytes(path: Path) -> bytes:
    if not is_there(path):
        raise NotFound(f"There is no file {legible(str(path))}.", "", "Check the path.")
    if not path.is_file():  # a folder; or a pipe, which would keep us waiting
        raise BadCheckpoint(f"{path} is not a file.", "Expected a weights file.", "Give the file itself.")
    try:
        with open(path, "rb") as file:
            return file.read(max(map(len, OLD_STARTS)))
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.", "Expected a weights file.", "") from error


def _open_safetensors(path: Path) -> TensorFile:
    metadata, specs, spans = _read_header(path)
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}

    return TensorFile(path, "safetensors", metadata, specs, read, spans.__getitem__)


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, TensorSpec], dict[str, Span]]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        size = path.stat().st_size
        if length > min(LARGEST_HEADER, size - 8):
            raise _damaged(path, f"the header should have {length:,} bytes, the whole file has {size:,}")
        text = file.read(length)
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", None) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("metadata that is not text")
        spans = {name: _span(path, 8 + length, entry) for name, entry in entries.items()}
        return metadata, {name: _spec(entry) for name, entry in entries.items()}, spans
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = legible(f"{type(error).__name__}: {error}")
        raise _damaged(path, f"its header cannot be understood ({reason})") from error


def raw_header(path: Path) -> bytes:
    """The header of a safetensors file, byte for byte."""
    with open(path, "rb") as file:
        return file.read(int.from_bytes(file.read(8), "little"))


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    """One entry of a safetensors header; whatever is wrong with it is some ValueError, KeyError or TypeError."""
    shape = tuple(entry["shape"])
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"a tensor of shape {entry['shape']}")
    return TensorSpec(shape, SAFETENSORS_DTYPES[entry["dtype"]])


def _span(path: Path, data: int, entry: Mapping[str, Any]) -> Span:
    """Where a tensor stands, as a header tells it; the safetensors library checks the numbers against the file."""
    begin, end = entry["data_offsets"]
    if not (type(begin) is type(end) is int and 0 <= begin <= end):
        raise ValueError(f"a tensor at {entry['data_offsets']}")
    return Span(path, data + begin, end - begin)


def _open_pickle(path: Path) -> TensorFile:
    try:
        opened = open_torch_file(path)
    except DAMAGE as error:
        reason = next(iter(str(error).splitlines()), "no detail")
        raise _damaged(path, legible(f"{type(error).__name__}: {reason}", 200)) from error
    tensors = _find_tensors(opened.content)
    if not tensors:
        raise BadCheckpoint(
            f"{path} holds no named tensors{_what_instead(opened.content)}.",
            "Expected a dictionary of weights.",
            "Check that this is a checkpoint.",
        )
    specs = {name: TensorSpec(tensor.shape, tensor.dtype) for name, tensor in tensors.items()}

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        return opened.read({name: tensors[name] for name in names})

    def span(name: str) -> Span | None:
        if not tensors[name].nbytes:
            return Span(path, 0, 0)
        start = opened.start_of(tensors[name])
        return None if start is None else Span(path, start, tensors[name].nbytes)

    return TensorFile(path, "pickle", _metadata(opened.content), specs, read, span, _others(opened.content))


def _what_instead(content: object) -> str:
    """What a pickle holds that is no dictionary: often a whole model, which only its own program can rebuild."""
    return f", but an object of the class {legible(content.name)}" if isinstance(content, Placeholder) else ""


def _find_tensors(loaded: object) -> dict[str, StoredTensor]:
    """The weights inside a checkpoint: at the top, one level down under a customary name, or else at any depth."""
    return _named_tensors(_holder(loaded)[1]) or _nested_tensors(loaded)


def _holder(loaded: object) -> tuple[str | None, dict[object, object]]:
    """The dictionary that has the weights, and the customary name that it stands under, if it does."""
    if not isinstance(loaded, dict):
        return None, {}
    held = ((wrapper, loaded.get(wrapper)) for wrapper in WRAPPERS)
    wrapped = ((name, inner) for name, inner in held if isinstance(inner, dict) and _named_tensors(inner))
    return next(wrapped, (None, loaded))


def _others(loaded: object) -> tuple[str, ...]:
    """The names of what a checkpoint holds beside weights: counters, optimisers, callbacks, configs."""
    wrapper, holder = _holder(loaded)
    weights = _named_tensors(holder)
    outside = [key for key in loaded if key != wrapper] if isinstance(loaded, dict) and wrapper else []
    return tuple(str(key) for key in (*outside, *holder) if key not in weights and key != METADATA)


def _metadata(loaded: object) -> dict[str, str]:
    """What vaekit writes into a checkpoint of torch beside the weights, as metadata of a safetensors file reads."""
    told = loaded.get(METADATA) if isinstance(loaded, dict) else None
    if not isinstance(told, dict):
        return {}
    return {key: text for key, text in told.items() if isinstance(key, str) and isinstance(text, str)}


def _nested_tensors(loaded: object) -> dict[str, StoredTensor]:
    """Tensors in dictionaries within dictionaries, under dotted names: what optimisers and adapters are saved as."""
    found: dict[str, StoredTensor] = {}
    seen = {id(loaded)}  # a hostile file may hold one dictionary in a million places
    holders = [("", loaded)] if isinstance(loaded, dict) else []
    while holders:
        prefix, holder = holders.pop()
        for name, value in holder.items():
            if isinstance(value, StoredTensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, dict) and id(value) not in seen and prefix.count(".") < DEEPEST:
                seen.add(id(value))
                holders.append((f"{prefix}{name}.", value))
    return found


def _named_tensors(holder: Mapping[object, object]) -> dict[str, StoredTensor]:
    return {name: value for name, value in holder.items() if isinstance(name, str) and isinstance(value, StoredTensor)}


def _damaged(path: Path, reason: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{path} is damaged or cut short: {reason}.",
        "Expected a complete weights file.",
        "Fetch it again, and compare its size and hash with the source.",
    )
