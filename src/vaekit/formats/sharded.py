"""Present sharded weights as one file."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
from vaekit.formats.shard_sets import REMEDY, ShardSet
from vaekit.formats.tensor_file import Span, TensorFile, check_names, damaged


def join_shards(shards: ShardSet, open_file: Callable[[Path], TensorFile]) -> TensorFile:
    """The tensors of all shards as those of one file.

    Args:
        shards: the files.
        open_file: opens one of them.

    Raises:
        BadCheckpoint: a shard is damaged, two hold a tensor of one name, or the index contradicts them.
    """
    opened = [open_file(path) for path in shards.shards]
    holders: dict[str, TensorFile] = {}
    for file in opened:
        for name in file.specs:
            if name in holders:
                raise BadCheckpoint(
                    f"Two shards of {shards.path} hold a tensor {printable(name)}: {holders[name].path.name} and "
                    f"{file.path.name}.",
                    "Expected each tensor in one of the files.",
                    REMEDY,
                )
            holders[name] = file
    check_index(shards, holders)
    try:
        check_names(holders)
    except ValueError as error:
        raise damaged(shards.path, str(error)) from error

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        tensors: dict[str, Tensor] = {}
        for file in opened:
            tensors |= file.read([name for name in requested if holders[name] is file])
        return {name: tensors[name] for name in requested}

    def span(name: str) -> Span | None:
        return holders[name].span(name)

    metadata = {key: value for file in reversed(opened) for key, value in file.metadata.items()}
    return replace(
        opened[0],
        path=shards.path,
        format=" and ".join(sorted({file.format for file in opened})),
        metadata=metadata,
        specs={name: file.specs[name] for name, file in holders.items()},
        read=read,
        span=span,
        others=tuple(dict.fromkeys(other for file in opened for other in file.others)),
        shards=shards.shards,
        alternatives=(),
    )


def check_index(shards: ShardSet, holders: dict[str, TensorFile]) -> None:
    """Reject an index that names another file for a tensor than the one that holds it.

    Raises:
        BadCheckpoint: it does; the first such tensor is named.
    """
    wrong = [name for name, file in shards.tensors.items() if name not in holders or holders[name].path.name != file]
    if wrong:
        name = wrong[0]
        actual = f"it is in {holders[name].path.name}" if name in holders else "no shard holds it"
        raise BadCheckpoint(
            f"The index {shards.path} contradicts the shards in {len(wrong):,} of {len(shards.tensors):,} tensors: it "
            f"states {printable(shards.tensors[name])} for {printable(name)}, but {actual}.",
            "Expected an index and shards that were written together.",
            REMEDY,
        )
