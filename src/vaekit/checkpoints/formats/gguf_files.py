"""GGUF, the format of ggml's programs: stable-diffusion.cpp writes whole checkpoints and single VAEs in it.

Numbers that torch knows are mapped from the file. Blocks of Q8_0 (32 whole numbers of 8 bits and a scale in fp16) are
read as fp32, which holds each product of the two exactly; fp16 would round it, and can overflow.

The package `gguf` (an extra) says which formats there are and undoes Q8_0.
"""

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from vaekit.checkpoints.formats.gguf_header import Entry, OtherVersion, read_header
from vaekit.checkpoints.formats.mapped import MappedFile
from vaekit.checkpoints.formats.tensor_file import TensorFile, TensorSpec, check_readable, damaged
from vaekit.errors import BadCheckpoint, legible
from vaekit.optional import need

GGUF_START = b"GGUF"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The formats that torch has too."""
QUANTISED = "Q8_0"


def open_gguf(path: Path) -> TensorFile:
    """Open a GGUF file: only its header is read.

    Raises:
        MissingPackage: the package gguf is not installed.
        BadCheckpoint: the file is damaged, hostile, or for machines of the other byte order.
    """
    gguf = need("gguf", "read GGUF files", "gguf")
    kinds = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
    sizes = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            header, size = read_header(mapped, sizes), len(mapped)
    except OtherVersion as error:
        raise BadCheckpoint(
            f"{path} is a GGUF file {error}.",
            "Expected version 2 or 3, in the byte order of small machines.",
            "Convert it with `gguf-convert-endian`, or make it again from its source.",
        ) from error
    except (ValueError, OSError) as error:
        raise damaged(path, legible(str(error), 200)) from error

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        entries = {name: header.entries[name] for name in names}
        check_readable(opened, entries)
        mapped = MappedFile(path, size)
        return {name: read_entry(mapped, entry, kinds, gguf) for name, entry in entries.items()}

    specs = {name: spec_of(entry, kinds) for name, entry in header.entries.items()}
    opened = TensorFile(path, "gguf", header.texts, specs, read)
    return opened


def spec_of(entry: Entry, kinds: Mapping[int, str]) -> TensorSpec:
    """What is known of a tensor before it is read."""
    kind = kinds.get(entry.kind, f"type {entry.kind}")
    if kind in DTYPES:
        return TensorSpec(entry.shape, DTYPES[kind])
    if kind == QUANTISED:
        return TensorSpec(entry.shape, torch.float32, kind)
    return TensorSpec(entry.shape, torch.uint8, kind, readable=False)


def read_entry(mapped: MappedFile, entry: Entry, kinds: Mapping[int, str], gguf: ModuleType) -> Tensor:
    """The numbers of a tensor that vaekit reads."""
    kind = kinds[entry.kind]
    if kind in DTYPES:
        return mapped.tensor(entry.start, entry.shape, DTYPES[kind])
    if 0 in entry.shape:
        return torch.empty(entry.shape)
    blocks = mapped.tensor(entry.start, (entry.nbytes,), torch.uint8).numpy()
    with np.errstate(all="ignore"):  # an infinite scale is no news for the one who reads
        numbers = gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    return torch.from_numpy(numbers).reshape(entry.shape)
