"""Open weights files of any supported format, without running code from them.

The format is detected from the first bytes, never from the file's name. Only the descriptions of tensors are
read until tensors are requested; then they are mapped from the file. Safetensors and GGUF have a header. A pickle (.pt,
.pth, .ckpt, .bin) is read by `pickle_machine` without importing or calling anything that it names, and `torch_files`
locates the data; so are the weights of a TorchScript program. Npz files are read by `numpy_archive`. Files of other
kinds are named by `foreign_files`.
"""

import mmap
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, NotFound, printable, reason_of, remedy_for
from vaekit.formats.foreign_files import EXPECTED, foreign_error, in_zip, recognized
from vaekit.formats.gguf import GGUF_START, open_gguf
from vaekit.formats.nested_weights import (
    WeightDictionary,
    dictionaries_in,
    nested_tensors,
    others_beside,
    own_metadata,
    weights_inside,
)
from vaekit.formats.numpy_archive import is_archive, open_archive
from vaekit.formats.pickled_objects import without_weights
from vaekit.formats.safetensors import open_safetensors
from vaekit.formats.shard_sets import shard_set_of
from vaekit.formats.sharded import join_shards
from vaekit.formats.tensor_file import Span, TensorFile, TensorSpec, check_names, check_readable, damaged
from vaekit.formats.torch_files import DAMAGE, OLD_STARTS, TorchFile, open_torch_file
from vaekit.formats.zip_directory import EMPTY_START, ZIP_START, records_of
from vaekit.reading import exists, open_file

__all__ = ["TensorFile", "TensorSpec", "check_readable", "open_tensors", "open_weights"]


def open_weights(path: Path) -> TensorFile:
    """Open the weights of a model: one file, or all shards if this is one of them or their index.

    Raises:
        BadCheckpoint: shards are missing, contradict each other, or contradict their index.
        NotFound, BadCheckpoint, UnsafePickle, MissingPackage: see `open_tensors`.
    """
    shards = shard_set_of(path)
    return open_tensors(path) if shards is None else join_shards(shards, open_tensors)


def open_tensors(path: Path) -> TensorFile:
    """Open a weights file of any supported format.

    Raises:
        NotFound: no such file.
        BadCheckpoint: the file is empty, damaged, or not a weights file.
        UnsafePickle: a pickle that references functions which execute code.
        MissingPackage: it is a GGUF file, and the package gguf is not installed.
    """
    start = _first_bytes(path)
    if start.startswith(GGUF_START):
        return open_gguf(path)
    if start[8:9] == b"{" and start[5:8] == b"\0\0\0":  # a length below 2^40, unlike JSON and other text
        return open_safetensors(path)
    if start.startswith((ZIP_START, EMPTY_START)):
        return _open_zip(path)
    if start.startswith(OLD_STARTS):
        return _open_pickle(path)
    raise _foreign(path, start)


def _foreign(path: Path, start: bytes) -> BadCheckpoint:
    """The error for a file of an unknown format, which names its kind if it is recognized."""
    try:
        foreign = recognized(path) if start else None
    except OSError:  # it vanished
        foreign = None
    if foreign is not None:
        return foreign_error(path, foreign)
    return BadCheckpoint(
        f"{path} is not a weights file: it starts with {start[:8]!r}." if start else f"{path} is empty (0 bytes).",
        EXPECTED,
        "Check that the download finished and that this is the intended file.",
    )


def _first_bytes(path: Path) -> bytes:
    if not exists(path):
        raise NotFound(f"There is no file {printable(str(path))}.", "", "Check the path.")
    try:
        with open_file(path) as file:
            return file.read(max(map(len, OLD_STARTS)))
    except OSError as error:
        raise BadCheckpoint(
            f"{path} cannot be read: {reason_of(error)}.", "Expected a weights file.", remedy_for(error)
        ) from error


def _open_zip(path: Path) -> TensorFile:
    names = _names_in_zip(path)
    if is_archive(names):
        return open_archive(path)
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return _open_pickle(path)
    raise foreign_error(path, in_zip(names))


def _names_in_zip(path: Path) -> Collection[str]:
    try:
        with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return records_of(mapped, compressed=True)
    except DAMAGE as error:
        raise damaged(path, printable(f"{type(error).__name__}: {error}", 200)) from error


def _open_pickle(path: Path) -> TensorFile:
    try:
        opened = open_torch_file(path)
        tensors = weights_inside(opened.content) or nested_tensors(opened.content)
        check_names(tensors)
    except DAMAGE as error:
        reason = next(iter(str(error).splitlines()), "no detail")
        raise damaged(path, printable(f"{type(error).__name__}: {reason}", 200)) from error
    if not tensors:
        raise without_weights(path, opened)
    own, others = dictionaries_in(opened.content, tensors)
    file = file_of_dictionary(opened, own)
    alternatives = tuple(file_of_dictionary(opened, other) for other in others if has_valid_names(other.weights))
    beside = () if opened.format == "torchscript" else others_beside(opened.content, tensors)
    return replace(file, others=beside, alternatives=alternatives)


def has_valid_names(names: Collection[str]) -> bool:
    """Whether names pass `check_names`."""
    try:
        check_names(names)
    except ValueError:
        return False
    return True


def file_of_dictionary(opened: TorchFile, dictionary: WeightDictionary) -> TensorFile:
    """The tensors of one dictionary of a torch checkpoint."""
    path, tensors = opened.path, dictionary.weights
    specs = {name: TensorSpec(tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    unread = {name: tensor for name, tensor in dictionary.unread.items() if has_valid_names([name])}
    specs |= {
        name: TensorSpec(tensor.shape, torch.uint8, stored=printable(tensor.kind), readable=False)
        for name, tensor in unread.items()
    }

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        check_readable(file, requested)
        return opened.read({name: tensors[name] for name in requested})

    def span(name: str) -> Span | None:
        if name in unread:
            return None
        if not tensors[name].nbytes:
            return Span(path, 0, 0)
        start = opened.start_of(tensors[name])
        return None if start is None else Span(path, start, tensors[name].nbytes)

    metadata = own_metadata(opened.content)
    file = TensorFile(
        path, opened.format, metadata, specs, read, span, dictionary=dictionary.path, averaged=dictionary.averaged
    )
    return file
