"""Weights files on disk -> named tensors, without running anything that is in them.

The format is read from the first bytes, never from the file's name. A safetensors file is mapped into memory: only its
header is read until tensors are asked for. A pickle (.pt, .pth, .ckpt, .bin) goes through torch's restricted
unpickler, which builds tensors and plain containers and refuses everything else.
"""

import json
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaekit.errors import BadCheckpoint, NotFound, UnsafePickle

LARGEST_HEADER = 100_000_000
"""Bytes: the limit that the safetensors library sets itself."""

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file: what they are, and a way to read some of them."""

    path: Path
    format: str
    """"safetensors" or "pickle"."""
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    read: Callable[[Iterable[str]], dict[str, Tensor]]


def open_tensors(path: Path) -> TensorFile:
    """Open a weights file of any supported format.

    Raises:
        NotFound: no such file.
        BadCheckpoint: the file is empty, damaged, or not a weights file.
        UnsafePickle: a pickle that asks for code to be run.
    """
    start = _first_bytes(path)
    if start[8:9] == b"{":
        return _open_safetensors(path)
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return _open_pickle(path)
    raise BadCheckpoint(
        f"{path} is not a weights file: it starts with {start[:8]!r}." if start else f"{path} is empty (0 bytes).",
        "Expected safetensors, or a torch checkpoint (.pt, .pth, .ckpt, .bin).",
        "Check that the download finished and that this is the file you meant.",
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", "", "Check the path.") from None
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.", "Expected a weights file.", "") from error


def _open_safetensors(path: Path) -> TensorFile:
    metadata, specs = _read_header(path)
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}

    return TensorFile(path, "safetensors", metadata, specs, read)


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, TensorSpec]]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        size = path.stat().st_size
        if length > min(LARGEST_HEADER, size - 8):
            raise _damaged(path, f"the header should have {length:,} bytes, the whole file has {size:,}")
        text = file.read(length)
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", None) or {}
        specs = {
            name: TensorSpec(tuple(entry["shape"]), SAFETENSORS_DTYPES[entry["dtype"]])
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be understood ({type(error).__name__}: {error})") from error
    return metadata, specs


def _open_pickle(path: Path) -> TensorFile:
    tensors = _find_tensors(_load_pickle(path))
    if not tensors:
        raise BadCheckpoint(
            f"{path} holds no named tensors.", "Expected a dictionary of weights.", "Check that this is a checkpoint."
        )
    specs = {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    return TensorFile(path, "pickle", {}, specs, lambda names: {name: tensors[name] for name in names})


def _load_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafePickle(
            f"{path} is a pickle that asks for something other than tensors: {_offender(str(error))}.",
            "It was refused before anything ran. Expected tensors, numbers, strings, lists and dictionaries only.",
            "Do not load it elsewhere unless you trust its author; ask for a safetensors version.",
        ) from error
    except Exception as error:  # torch raises whatever a damaged zip or pickle leads it into
        raise _damaged(path, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}") from error


def _offender(message: str) -> str:
    """The global that torch refused, out of its long advice on how to allow it."""
    for line in message.splitlines():
        if "GLOBAL" in line or "Unsupported" in line or "Trying to" in line:
            return line.strip().split(". ")[0][:200]
    return message.strip().splitlines()[0][:200] if message.strip() else "unknown"


def _find_tensors(loaded: object) -> dict[str, Tensor]:
    """The weights inside a checkpoint: at the top, or one level down under a customary name."""
    if not isinstance(loaded, Mapping):
        return {}
    for wrapper in ("state_dict", "model", "module", "params_ema", "params", "vae"):
        inner = loaded.get(wrapper)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            return _find_tensors(inner)
    return {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _damaged(path: Path, reason: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{path} is damaged or cut short: {reason}.",
        "Expected a complete weights file.",
        "Fetch it again, and compare its size and hash with the source.",
    )
