"""Present the tensors of two files as those of one."""

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from vaekit.formats.tensor_file import Span, TensorFile


def joined(file: TensorFile, other: TensorFile, prefix: str) -> TensorFile:
    """A file that also has the tensors of another one, behind a prefix.

    Args:
        file: the first file, whose path and metadata are those of the result; no tensor has this prefix.
        other: the second file.
        prefix: of its tensors: "vocoder.".
    """
    added = {prefix + name: name for name in other.specs}

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        own = file.read([name for name in requested if name not in added])
        theirs = other.read([added[name] for name in requested if name in added])
        return {name: theirs[added[name]] if name in added else own[name] for name in requested}

    def span(name: str) -> Span | None:
        return other.span(added[name]) if name in added else file.span(name)

    return replace(
        file,
        format=" and ".join(sorted({file.format, other.format})),
        specs={**file.specs, **{name: other.specs[bare] for name, bare in added.items()}},
        read=read,
        span=span,
        others=tuple(dict.fromkeys((*file.others, *other.others))),
        shards=(*file.files, *other.files),
    )
