"""Find the files of sharded weights: by an index, or by the numbers in their names. Does not import torch.

An index is a JSON file such as `model.safetensors.index.json` (`model.safetensors.index.fp16.json` for a variant).
Its `weight_map` states the file of each tensor. Shards without one are called `model-00001-of-00002.safetensors`.

Source: `save_torch_state_dict` in huggingface_hub, and the variants of diffusers.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vaekit.errors import BadCheckpoint, counted, printable, reason_of, shorten
from vaekit.formats.paths import WEIGHTS_ENDINGS, diffusers_preference, holds_weights
from vaekit.json import without_duplicates
from vaekit.reading import read_text, real_path

INDEX = re.compile(r"(?P<whole>.+)\.index(?P<variant>\.[\w-]+)?\.json")
SHARD = re.compile(r"(?P<stem>.+)[-_.](?P<number>\d{2,6})-of-(?P<count>\d{2,6})(?P<ending>(?:\.[\w-]+)+)")
PART = re.compile(r"(?P<stem>.+)[-_.](?P<number>0\d{1,5})(?P<ending>(?:\.[A-Za-z]\w*)+)")
"""A file name with a number that starts with 0: one of several parts, or one of several versions."""
LARGEST_INDEX = 32 * 2**20
"""The maximum size of an index in bytes. The largest have some 200,000."""
LONGEST_NAME = 255
"""The maximum length of a file name in bytes, on common systems."""
REMEDY = "Download all files of the model again, from one source."


@dataclass(frozen=True)
class WeightsEntry:
    """Weights in a folder: one file, or a set of shards."""

    path: Path
    """The file; the index of shards, or the first of them if there is none."""
    name: str
    """The name of the file; for shards, the name that it would have if it were one."""
    files: tuple[Path, ...]
    """Everything that is read: the index, then the weights."""

    @property
    def preference(self) -> tuple[bool, int, str, bool]:
        """The order in which weights of one model are preferred: see `diffusers_preference`, then one file."""
        return *diffusers_preference(PurePosixPath(self.name)), self.path.name != self.name


@dataclass(frozen=True)
class ShardSet:
    """Weights in several files."""

    path: Path
    """The index, or the first shard if there is none."""
    shards: tuple[Path, ...]
    tensors: Mapping[str, str]
    """The name of the file of each tensor, according to the index; empty without one."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The index, if there is one, and the shards."""
        return tuple(dict.fromkeys((self.path, *self.shards)))


def is_index(name: str) -> bool:
    """Whether this is the name of an index.

    >>> is_index("model.safetensors.index.json"), is_index("model_index.json")
    (True, False)
    """
    return INDEX.fullmatch(name) is not None


def whole_name(name: str) -> str:
    """The name of the file that an index, or a shard, is a part of.

    >>> whole_name("m.safetensors.index.fp16.json"), whole_name("m-00001-of-00002.safetensors")
    ('m.fp16.safetensors', 'm.safetensors')
    """
    index, shard = INDEX.fullmatch(name), SHARD.fullmatch(name)
    if index:
        whole = PurePosixPath(index["whole"])
        return f"{whole.stem}{index['variant'] or ''}{whole.suffix}"
    return shard["stem"] + shard["ending"] if shard else name


def shard_set_of(path: Path) -> ShardSet | None:
    """The shards that an index lists or that one of them belongs to; None for a file that is whole.

    Raises:
        BadCheckpoint: shards are missing, or the index is damaged or names files elsewhere.
    """
    if is_index(path.name):
        return set_of_index(path)
    index = index_listing(path)
    if index is not None:
        shards = set_of_index(index)
        return shards if len(shards.shards) > 1 else None
    if path.is_symlink() and not SHARD.fullmatch(path.name):
        target = real_path(path)
        if is_index(target.name) or SHARD.fullmatch(target.name):
            return shard_set_of(target)
    return numbered_set(path)


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that is read for the weights in this one.

    Raises:
        BadCheckpoint: see `shard_set_of`.
    """
    shards = shard_set_of(path)
    return (path,) if shards is None else shards.files


def set_of_index(index: Path) -> ShardSet:
    """The shards that an index lists.

    Raises:
        BadCheckpoint: the index is damaged, names files elsewhere, or some of them are missing.
    """
    tensors = read_index(index)
    shards = tuple(index.with_name(name) for name in sorted(set(tensors.values())))
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise incomplete(index, missing, len(shards))
    homes = {real_path(index.parent), real_path(index).parent}  # the Hub's cache links the index, too
    outside = [shard.name for shard in shards if real_path(shard).parent not in homes]
    if outside:
        raise BadCheckpoint(
            f"{index} names {shorten(outside)}, which is a link to a file in another folder.",
            "Expected the shards in the folder of their index.",
            "Put the file itself there, or use the folder that holds all of them.",
        )
    return ShardSet(index, shards, tensors)


def read_index(index: Path) -> dict[str, str]:
    """The file name of each tensor.

    Raises:
        BadCheckpoint: it is damaged or too large, or names files in other folders.
    """
    try:
        content = json.loads(read_text(index, LARGEST_INDEX), object_pairs_hook=without_duplicates)
        tensors = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(tensors, dict) or not tensors:
            raise ValueError("it has no weight_map")
        if not all(isinstance(name, str) for name in tensors.values()):
            raise ValueError("its weight_map does not map names to files")
    except (ValueError, RecursionError, OSError) as error:
        raise BadCheckpoint(
            f"{index} is not the index of sharded weights: {reason_of(error)}.",
            "Expected a JSON object whose weight_map states the file of each tensor.",
            "Download it again.",
        ) from error
    outside = [name for name in dict.fromkeys(tensors.values()) if not is_plain(name)]
    if outside:
        raise BadCheckpoint(
            f"{index} names files outside its folder, or files that cannot exist: {shorten(outside)}.",
            "Expected the names of shards in the same folder.",
            "Get the model from another source: this index should not be trusted.",
        )
    return tensors


def is_plain(name: str) -> bool:
    """Whether a file name is valid, stays in its folder, on any system, and is no index itself."""
    is_valid = name.isprintable() and len(name.encode()) <= LONGEST_NAME
    return is_valid and not re.search(r"[/\\:]", name) and name not in ("", ".", "..") and not is_index(name)


def index_listing(path: Path) -> Path | None:
    """The index in the same folder that lists this file; None without one.

    Raises:
        BadCheckpoint: the file is a shard by its name, and the index that should list it is damaged.
    """
    damage: BadCheckpoint | None = None
    indexes = [name for name in sibling_names(path) if name.endswith(".json") and is_index(name)]
    for index in map(path.with_name, sorted(indexes)):
        try:
            if path.name in read_index(index).values():
                return index
        except BadCheckpoint as error:
            damage = damage or (error if whole_name(index.name) == whole_name(path.name) else None)
    if damage is not None and SHARD.fullmatch(path.name):
        raise damage
    return None


def numbered_set(path: Path) -> ShardSet | None:
    """The shards that are numbered like this one; None for a file that is whole.

    Raises:
        BadCheckpoint: some are missing.
    """
    own = SHARD.fullmatch(path.name)
    if own is None or path.suffix.lower() not in WEIGHTS_ENDINGS:
        return None
    shards = {}
    for name in sibling_names(path):
        match = SHARD.fullmatch(name)
        if match and match.group("stem", "count", "ending") == own.group("stem", "count", "ending"):
            shards[int(match["number"])] = path.with_name(name)
    expected = numbered_names(path.name, 0 if 0 in shards else 1)
    present = {shard.name for shard in shards.values()}
    missing = [name for name in expected if name not in present]
    if missing:
        raise incomplete(path, missing, len(expected))
    if len(shards) == 1:
        return None
    ordered = tuple(shards[number] for number in sorted(shards))
    return ShardSet(ordered[0], ordered, {})


def numbered_names(name: str, first: int = 1) -> tuple[str, ...]:
    """The names of all shards of the set that a shard belongs to by its name; the name itself for others.

    >>> numbered_names("m-00001-of-00002.bin")
    ('m-00001-of-00002.bin', 'm-00002-of-00002.bin')
    """
    match = SHARD.fullmatch(name)
    if match is None:
        return (name,)
    start, end = match.span("number")
    numbers = range(first, first + int(match["count"]))
    return tuple(f"{name[:start]}{number:0{end - start}d}{name[end:]}" for number in numbers)


def incomplete(path: Path, missing: list[str], count: int) -> BadCheckpoint:
    """The error for missing shards."""
    return BadCheckpoint(
        f"{path} is part of weights in {counted(count, 'file')}, of which {len(missing):,} "
        f"{'is' if len(missing) == 1 else 'are'} missing: {shorten(missing, 4)}.",
        "Expected all of them in one folder.",
        "Download what is missing, too.",
    )


def part_hint(path: Path) -> str:
    """A sentence, after a space, about a file whose name is that of one of several parts; empty for others.

    >>> part_hint(Path("consolidated.00.pth"))
    ' By its name, it may be one of several parts, consolidated.*.pth; the others are not beside it.'
    """
    own = PART.fullmatch(path.name)
    if own is None or SHARD.fullmatch(path.name):
        return ""
    matches = ((name, PART.fullmatch(name)) for name in sibling_names(path))
    same = [name for name, match in matches if match and match.group("stem", "ending") == own.group("stem", "ending")]
    others = sorted(name for name in same if name != path.name)
    start, end = own.span("number")
    pattern = printable(f"{path.name[:start]}*{path.name[end:]}")
    return (
        f" By its name, it may be one of several parts, {pattern}; "
        f"{f'beside it: {shorten(others, 4)}' if others else 'the others are not beside it'}."
    )


def sibling_names(path: Path) -> list[str]:
    """The names of everything in the folder of a file; empty if it cannot be listed."""
    try:
        with os.scandir(path.parent) as listing:
            return [item.name for item in listing]
    except OSError:
        return []


def weights_entries(folder: Path, names: Iterable[str]) -> list[WeightsEntry]:
    """The weights in a folder, sorted by path: whole files, and sets of shards.

    Args:
        folder: their folder.
        names: the files in it; all but weights and indexes are ignored.
    """
    files = sorted(folder / name for name in names if is_index(name) or holds_weights(name))
    entries: list[WeightsEntry] = []
    listed: set[str] = set()
    for index in (file for file in files if is_index(file.name)):
        entry = indexed_entry(index)
        listed |= {file.name for file in entry.files[1:]} if entry else set()
        entries += [entry] if entry else []
    others = [file for file in files if not is_index(file.name) and file.name not in listed]
    return sorted([*entries, *numbered_entries(others)], key=lambda entry: entry.path)


def indexed_entry(index: Path) -> WeightsEntry | None:
    """The shards of an index; None if it lists one whole file, or is another kind of file."""
    try:
        names = sorted(set(read_index(index).values()))
    except BadCheckpoint:  # which opening it reports
        is_named_so = PurePosixPath(whole_name(index.name)).suffix.lower() in WEIGHTS_ENDINGS
        return WeightsEntry(index, whole_name(index.name), (index,)) if is_named_so else None
    if len(names) == 1 and index.with_name(names[0]).is_file():
        return None
    return WeightsEntry(index, whole_name(index.name), (index, *map(index.with_name, names)))


def numbered_entries(files: Iterable[Path]) -> Iterator[WeightsEntry]:
    """Files without an index, with the shards of one set together."""
    sets: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for file in files:
        match = SHARD.fullmatch(file.name)
        sets[(whole_name(file.name), match["count"] if match else "")].append(file)
    for (name, _), shards in sets.items():
        yield WeightsEntry(shards[0], name, tuple(shards))
