"""Open weights files of any supported format, without running code from them.

The format is detected from the first bytes, never from the file's name. Only the descriptions of tensors are
read until tensors are requested; then they are mapped from the file. Safetensors and GGUF have a header. A pickle (.pt,
.pth, .ckpt, .bin) is read by `pickle_machine` without importing or calling anything that it names, and `torch_files`
locates the data.
"""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from vaekit.errors import BadCheckpoint, NotFound, printable, reason_of, remedy_for
from vaekit.formats.gguf import GGUF_START, open_gguf
from vaekit.formats.nested_weights import (
    describe_content,
    nested_tensors,
    others_beside,
    own_metadata,
    weights_inside,
)
from vaekit.formats.paths import exists
from vaekit.formats.safetensors import open_safetensors
from vaekit.formats.tensor_file import Span, TensorFile, TensorSpec, check_names, check_readable, damaged
from vaekit.formats.torch_files import DAMAGE, OLD_STARTS, open_torch_file
from vaekit.formats.zip_directory import ZIP_START
from vaekit.reading import open_file

__all__ = ["TensorFile", "TensorSpec", "check_readable", "open_tensors"]


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
    if start[8:9] == b"{":
        return open_safetensors(path)
    if start.startswith((ZIP_START, *OLD_STARTS)):
        return _open_pickle(path)
    raise BadCheckpoint(
        f"{path} is not a weights file: it starts with {start[:8]!r}." if start else f"{path} is empty (0 bytes).",
        "Expected safetensors, GGUF, or a torch checkpoint (.pt, .pth, .ckpt, .bin).",
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


def _open_pickle(path: Path) -> TensorFile:
    try:
        opened = open_torch_file(path)
        tensors = weights_inside(opened.content) or nested_tensors(opened.content)
        check_names(tensors)
    except DAMAGE as error:
        reason = next(iter(str(error).splitlines()), "no detail")
        raise damaged(path, printable(f"{type(error).__name__}: {reason}", 200)) from error
    if not tensors:
        raise BadCheckpoint(
            f"{path} holds no named tensors{describe_content(opened.content)}.",
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

    others = others_beside(opened.content, tensors)
    return TensorFile(path, "pickle", own_metadata(opened.content), specs, read, span, others)
