"""Weights files on disk -> named tensors, without running anything that is in them.

The format is read from the first bytes, never from the file's name. A safetensors file is mapped into memory: only its
header is read until tensors are asked for. A pickle (.pt, .pth, .ckpt, .bin) goes through torch's restricted
unpickler, which builds tensors and plain containers and refuses everything else; where torch wrote it as a zip, its
tensors are mapped too.
"""

import json
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaekit.errors import BadCheckpoint, NotFound, UnsafePickle, legible

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

ZIP_START = b"PK\x03\x04"
WRAPPERS = ("state_dict", "model", "module", "params_ema", "params", "vae")
"""Names under which training programs keep the weights in a checkpoint, one level down."""
HONEST = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.(Size|device|Tensor|b?float\d+|u?int\d+|bool)"
    r"|torch(\.storage)?\.\w*Storage|torch\._utils\._rebuild_\w+|torch\.nn\.parameter\.Parameter"
)
"""What the pickle of an honest checkpoint names."""
SCANNED = 1 << 20
"""Bytes of a refused pickle that are searched for the names to tell."""


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
    if start[:4] == ZIP_START or start[:1] == b"\x80":
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
            return file.read(16)
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
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("metadata that is not text")
        return metadata, {name: _spec(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = legible(f"{type(error).__name__}: {error}")
        raise _damaged(path, f"its header cannot be understood ({reason})") from error


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    """One entry of a safetensors header; whatever is wrong with it is some ValueError, KeyError or TypeError."""
    shape = tuple(entry["shape"])
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"a tensor of shape {entry['shape']}")
    return TensorSpec(shape, SAFETENSORS_DTYPES[entry["dtype"]])


def _open_pickle(path: Path) -> TensorFile:
    tensors = _find_tensors(_load_pickle(path))
    if not tensors:
        raise BadCheckpoint(
            f"{path} holds no named tensors.", "Expected a dictionary of weights.", "Check that this is a checkpoint."
        )
    swollen = [name for name, tensor in tensors.items() if tensor.nbytes > path.stat().st_size]
    if swollen:  # one number repeated by a stride of zero, or memory that nothing was read into
        raise _damaged(path, f"{legible(swollen[0])} claims more numbers than the whole file holds")
    specs = {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    return TensorFile(path, "pickle", {}, specs, lambda names: {name: tensors[name] for name in names})


def _load_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch comments on old formats; what matters is raised
            if _can_be_mapped(path):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with open(path, "rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except BadCheckpoint:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except Exception as error:  # torch raises whatever a damaged zip or pickle leads it into
        reason = next(iter(str(error).splitlines()), "no detail")
        raise _damaged(path, legible(f"{type(error).__name__}: {reason}", 200)) from error


def _can_be_mapped(path: Path) -> bool:
    """Whether the tensors stand in the file as they are: in a zip they do, in torch's format before 1.6 not."""
    with open(path, "rb") as file:
        if file.read(4) != ZIP_START:
            return False
    with zipfile.ZipFile(path) as archive:
        packed = next((entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED), "")
    if packed:  # mapped, its bytes would pass for weights; unpacked, a small file may fill the memory
        raise BadCheckpoint(
            f"{path} is a compressed zip ({legible(packed)}), which torch never writes.",
            "Expected a checkpoint as torch.save writes it.",
            "Fetch it again from its source, as safetensors if there is a choice.",
        )
    return path.suffix != ".safetensors"  # a path of that ending torch would read as one, whatever is in the file


def _refused(path: Path, message: str) -> BadCheckpoint:
    """The error for a pickle that torch would not load: hostile if it names code, else damaged."""
    named = re.search(r"GLOBAL (\S+)|unrecognized function (.+)", message)
    offenders = (
        [named[1] or named[2]] if named else [name for name in _names_inside(path) if not HONEST.fullmatch(name)]
    )
    if not offenders:
        reason = next((line for line in reversed(message.splitlines()) if line and "http" not in line), "no detail")
        return _damaged(path, legible(reason, 200))
    return UnsafePickle(
        f"{path} is a pickle that asks for code that no weights need: {legible(', '.join(offenders[:3]), 200)}.",
        "It was refused before anything ran. Expected tensors, numbers, strings, lists and dictionaries only.",
        "Do not load it elsewhere unless you trust its author; ask for a safetensors version.",
    )


def _names_inside(path: Path) -> list[str]:
    """The functions and classes that a pickle names near its start, read without running it."""
    names = []
    strings: list[str] = []
    for opcode, argument in _operations(path):
        if opcode in ("GLOBAL", "INST"):
            names.append(str(argument).replace(" ", "."))
        elif opcode == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def _operations(path: Path) -> Iterator[tuple[str, Any]]:
    """The operations of the pickle in a file, as far as they can be read."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
                with archive.open(entry) as file:
                    start = file.read(SCANNED)
        else:
            with open(path, "rb") as file:
                start = file.read(SCANNED)
        for operation, argument, _ in pickletools.genops(start):
            yield operation.name, argument
    except Exception:  # cut off in the middle, or no pickle at all: what was found so far is all there is to tell
        return


def _find_tensors(loaded: object) -> dict[str, Tensor]:
    """The weights inside a checkpoint: at the top, or one level down under a customary name."""
    if not isinstance(loaded, Mapping):
        return {}
    inner = (loaded.get(wrapper) for wrapper in WRAPPERS)
    wrapped = (held for held in inner if isinstance(held, Mapping) and any(map(_is_plain, held.values())))
    holder = next(wrapped, loaded)
    return {name: value for name, value in holder.items() if isinstance(name, str) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    """Whether this is a tensor of numbers in memory: not sparse, quantised, nested, or without data."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_nested)
    )


def _damaged(path: Path, reason: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"{path} is damaged or cut short: {reason}.",
        "Expected a complete weights file.",
        "Fetch it again, and compare its size and hash with the source.",
    )
