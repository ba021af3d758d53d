"""Read and check the tensors of one file: arrays of npz files, and safetensors; pickles are never run."""

import io
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.checkpoints.save import write_tensors
from vaekit.datasets.array_files import UNREADABLE_ZIP
from vaekit.errors import BadCheckpoint, BadLatent, printable, shorten
from vaekit.formats.safetensors import open_safetensors
from vaekit.latent_cache.foreign.mark import KEY
from vaekit.reading import open_file

LARGEST = 2**30
"""The maximum number of bytes of an array: latents of an image of 20,000 x 20,000 pixels have 0.4 GB."""
MOST_ARRAYS = 2**10
PICKLED = "Object arrays cannot be loaded"
REDO = "Delete the file, and let the program cache the image again."
SHORTEST_SAFETENSORS = 10
"""Bytes of the smallest safetensors file: the length of its header, and {}."""
LATENT_AXES = range(3, 5)
"""The number of axes of stored latents: channels, possibly frames, height and width."""


def bad_file(path: Path, reason: str, expected: str = "Expected a file as the program writes it.") -> BadLatent:
    """The error for a file that cannot be used."""
    return BadLatent(f"{path}: {reason}.", expected, REDO)


@dataclass(frozen=True)
class Tensors:
    """The tensors of a safetensors file."""

    metadata: Mapping[str, str]
    names: Collection[str]
    read: Callable[[str], Tensor]


def read_arrays(path: Path, wanted: re.Pattern[str]) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file whose names match.

    Raises:
        BadLatent: the file is damaged, or one of these arrays is pickled or too large.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            if len(members) > MOST_ARRAYS:
                raise bad_file(path, f"it has {len(members):,} arrays")
            found = {name: each for name, each in members.items() if wanted.fullmatch(name)}
            large = [name for name, each in found.items() if each.file_size > LARGEST]
            if large:
                raise bad_file(path, f"its array {printable(large[0])} has more than {LARGEST:,} bytes")
            return {name: parse_array(archive.read(each)) for name, each in found.items()}
    except UNREADABLE_ZIP as error:
        raise bad_file(path, reason_in(error)) from error


def parse_array(content: bytes) -> NDArray[Any]:
    """The array in an npy file.

    Raises:
        ValueError: it is damaged or pickled.
    """
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds an archive in an archive")
    return array


def reason_in(error: BaseException) -> str:
    """The reason that numpy or zipfile gives, as a phrase."""
    text = printable(str(error)) or type(error).__name__
    if PICKLED in text:
        return "it holds pickled objects, which could run code, and was not opened"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read ({error.strerror})"
    return f"it is damaged or truncated ({text.rstrip('.')})"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an npz file, uncompressed as numpy's `savez` does, but atomically and with the same bytes each time.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    with atomic_file(path) as part, zipfile.ZipFile(part, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())


def open_safe(path: Path) -> Tensors:
    """The tensors of a safetensors file.

    Raises:
        BadLatent: it is something else, such as a pickle, or damaged.
    """
    try:
        with open_file(path) as file:
            start = file.read(SHORTEST_SAFETENSORS)
    except OSError as error:
        raise bad_file(path, f"it cannot be read ({error.strerror})") from error
    if not start:
        raise bad_file(path, "it is empty (0 bytes)")
    if start.startswith((b"PK\3\4", b"\x80\2", b"\x80\4", b"\x80\5")):
        raise bad_file(path, "it is a file of torch.save, whose pickle could run code, and was not opened")
    if len(start) < SHORTEST_SAFETENSORS or start[8:9] != b"{":
        raise bad_file(path, "it is damaged, or no safetensors file")
    try:
        opened = open_safetensors(path)
    except BadCheckpoint as error:
        raise bad_file(path, error.found.removeprefix(f"{path} ").rstrip(".")) from error

    def read(name: str) -> Tensor:
        try:
            return opened.read([name])[name]
        except BadCheckpoint as error:
            raise bad_file(path, error.found.rstrip(".")) from error

    return Tensors(opened.metadata, list(opened.specs), read)


def write_safe(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    with atomic_file(path) as part:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_tensors(plain, part, dict(metadata), path)


def latents_from(path: Path, name: str, values: Tensor | NDArray[Any]) -> Tensor:
    """Stored latents as fp32, in memory of their own.

    Raises:
        BadLatent: they are not floating-point values of (channels, height, width), possibly with frames.
    """
    tensor = values if isinstance(values, Tensor) else tensor_of(values)
    if not tensor.is_floating_point() or tensor.dim() not in LATENT_AXES or not tensor.numel():
        shape, dtype = list(values.shape), str(values.dtype).removeprefix("torch.")
        raise bad_file(
            path,
            f"its {printable(name)} has shape {shape} and dtype {dtype}",
            "Expected floating-point values of shape (channels, height, width), or with frames before the height.",
        )
    return tensor.to(torch.float32, copy=True)


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array of numbers as a tensor; one without elements for other arrays."""
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        return torch.empty(0)
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def lacking(path: Path, wanted: str, names: Collection[str]) -> BadLatent:
    """The error for a file without the latents that its name promises."""
    others = [name for name in names if name != KEY]
    holds = f"it holds {shorten(others, 4)}" if others else "it holds nothing"
    return bad_file(path, f"it has no {wanted}: {holds}")
