"""What kind of data a path is: images in a folder, in tars, in a data set, in an array, or one image."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vaekit.domains.images.arrays import arrays_of, is_idx, named, read_idx, read_npy, read_npz
from vaekit.domains.images.arrow_data import ARROW_FILE, PARQUET, dataset_of
from vaekit.domains.images.decode import Pixels
from vaekit.domains.images.folders import Listed, ending, files_below, folder_of
from vaekit.domains.images.read import IMAGE_ENDINGS
from vaekit.domains.images.skip_log import SkipLog
from vaekit.domains.images.tars import expanded, is_tar, tars_of
from vaekit.errors import NotFound, NoTrainingData, printable

KINDS = (
    "a folder of images, WebDataset tars (one, a folder of them, or data-{000..012}.tar), a data set that "
    "datasets.save_to_disk wrote, a folder of .parquet or .arrow files, an .npz or .npy array, MNIST's idx files, or a "
    "image"
)
"""Of data, in words."""
KEPT_IN = {
    "images": IMAGE_ENDINGS,
    "tars": frozenset({".tar"}),
    "tables": frozenset({".parquet", ".arrow"}),
}
"""What a folder may be full of, and how such files end."""
ARRAYS = frozenset({".npz", ".npy"})
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""What files begin with that gzip, bzip2, xz or zstd made."""
PACKED_TAR = re.compile(r"tar|\.(tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
SPLIT = re.compile(r"(train|test|val|valid|validation)(?![a-z])", re.IGNORECASE)
"""What the name of a part of the data begins with."""


@runtime_checkable
class ImageDataset(Protocol):
    """Many images, none of which has been opened yet. Read from several threads."""

    @property
    def kind(self) -> str:
        """What holds them, in one word."""

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes, not over contents."""

    def __len__(self) -> int:
        """How many."""

    def name(self, item: int) -> str:
        """What to call this one in messages. In files that hold many, two may have the same."""

    def read(self, item: int, shortest: int | None) -> Pixels:
        """This one.

        Args:
            item: its number.
            shortest: nobody will look at it with a short side longer than this; None for all of it.

        Raises:
            BadItem, NotFound: it cannot be read.
        """

    def sides(self, item: int) -> tuple[int, int]:
        """Of this one, in pixels, in either order; nothing is decoded for it.

        Raises:
            BadItem, NotFound: it cannot be read.
        """


@dataclass(frozen=True, eq=False)
class ImageSplits:
    """What was found at a path."""

    train: ImageDataset
    test: ImageDataset | None = None
    """Those that its makers set apart."""


def open_images(path: Path, skipped: SkipLog) -> ImageSplits:
    """Find out what a path is, and list the images there.

    Args:
        path: a folder, a file, or a pattern such as data-{000..012}.tar.
        skipped: told of what cannot be listed, and of what takes time.

    Raises:
        NotFound: nothing is there.
        NoTrainingData: what is there holds no images, or cannot be read.
        MissingPackage: it takes a package that is not installed.
    """
    try:
        return _opened(path, skipped)
    except OSError as error:
        raise NoTrainingData(
            f"{path} cannot be opened: {error.strerror}.", "", "Check the name, and who may read it."
        ) from error


def _opened(path: Path, skipped: SkipLog) -> ImageSplits:
    """Whatever is there."""
    if path.is_dir():
        return _folder(path, skipped)
    if path.is_file():
        return _file(path, skipped)
    if "{" in path.name:
        try:
            paths = expanded(os.fspath(path))
        except ValueError as error:
            raise NotFound(f"{path} is no pattern of tars: {error}.", "", "") from error
        missing = [each for each in paths if not each.is_file()]
        if not paths or missing:
            raise NotFound(f"There is no {missing[0] if missing else path}.", "", "Check the range in the pattern.")
        root = os.path.commonpath([each.parent for each in paths])
        names = [os.path.relpath(each, root) for each in paths]
        return ImageSplits(_some(tars_of(Path(root), names, skipped.note), path))
    raise NotFound(f"There is nothing at {path}.", f"Expected {KINDS}.", "Check the name.")


def _file(path: Path, skipped: SkipLog) -> ImageSplits:
    """One file: its first bytes say what it is."""
    with open(path, "rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        train, test = read_npz(path)
        return ImageSplits(arrays_of(train, path.name), None if test is None else arrays_of(test, for_tests(path.name)))
    if start.startswith(b"\x93NUMPY"):
        return ImageSplits(arrays_of(read_npy(path), path.name))
    if start.startswith((PARQUET, ARROW_FILE)) or path.suffix == ".arrow":
        return ImageSplits(_some(dataset_of([path], path.name, skipped.say), path))
    if start.startswith(PACKED) and PACKED_TAR.search(path.name):
        raise NoTrainingData(
            f"{path} is a packed tar.",
            "Its images cannot be read at any place.",
            "Unpack it, or make it a plain tar.",
        )
    if start.startswith((b"\x00\x00\x08", b"\x1f\x8b")):
        return ImageSplits(arrays_of(read_idx(path), path.name))
    if path.suffix.lower() == ".tar" or is_tar(start):
        return ImageSplits(_some(tars_of(path.parent, [path.name], skipped.note), path))
    return ImageSplits(folder_of(path.parent, [(path.name, path.stat().st_size)]))


def _folder(path: Path, skipped: SkipLog) -> ImageSplits:
    """A folder: some file names say what it is, else the images in and below it."""
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved_dataset(path, skipped)
    names = os.listdir(path)  # noqa: PTH208 (there may be a million)
    idx = [name for name in names if is_idx(name) and (path / name).is_file()]
    train = named(idx, "train")
    if train is not None:
        test = named(idx, "t10k", "test")
        return ImageSplits(
            arrays_of(read_idx(path / train), train),
            None if test is None else arrays_of(read_idx(path / test), test),
        )
    return _most_in(path, skipped)


def _most_in(path: Path, skipped: SkipLog) -> ImageSplits:
    """What a folder is full of: images, tars or tables, whichever have the most bytes. So neither the images of a
    README nor a table of captions is taken for the data."""
    files = files_below(path, ARRAYS.union(*KEPT_IN.values()), skipped.note)
    held = {kind: [each for each in files if ending(each[0]) in endings] for kind, endings in KEPT_IN.items()}
    kind = max(held, key=lambda kind: sum(size for _, size in held[kind]) if held[kind] else -1)
    if not held[kind]:
        return _array_in(path, files, skipped)
    if len(held[kind]) < len(files):
        held["arrays"] = [each for each in files if ending(each[0]) in ARRAYS]
        told = ", ".join(f"{kind} ({len(those):,})" for kind, those in held.items() if those)
        skipped.say(
            f"In {path} are {told}. Only the {kind} are used: of images, tars and tables they have the most bytes. "
            "Name a folder or file inside it to use others."
        )
    train, test = split(held[kind], *((first_folder,) if kind == "images" else PARTS_OF_SHARDS))
    return ImageSplits(
        _some(_kept(kind, path, train, path.name, skipped), path),
        _kept(kind, path, test, for_tests(path.name), skipped) if test else None,
    )


def _kept(kind: str, path: Path, files: Sequence[Listed], title: str, skipped: SkipLog) -> ImageDataset:
    """The images in files of one kind in a folder."""
    names = [name for name, _ in files]
    if kind == "images":
        return folder_of(path, files)
    if kind == "tars":
        return tars_of(path, names, skipped.note)
    return dataset_of([path / name for name in names], title, skipped.say)


def _array_in(path: Path, files: Sequence[Listed], skipped: SkipLog) -> ImageSplits:
    """The one array in a folder without anything else.

    Raises:
        NoTrainingData: there is none, or more than one.
    """
    if len(files) == 1:
        return _file(path / files[0][0], skipped)
    told = f"; {len(skipped.reasons)} folders or links in it cannot be followed" if skipped.reasons else ""
    raise NoTrainingData(
        f"The folder {path} holds no images{told}.",
        f"Expected {KINDS}. Images end in one of {', '.join(sorted(IMAGE_ENDINGS))}.",
        "Check the name.",
    )


def first_folder(name: str) -> str:
    """The folder below the top that a file is in."""
    return name.partition("/")[0] if "/" in name else ""


def last_folder(name: str) -> str:
    """The folder that a file is in."""
    return name.rpartition("/")[0].rpartition("/")[2]


def own_name(name: str) -> str:
    """Without folders."""
    return name.rpartition("/")[2]


PARTS_OF_SHARDS = (own_name, first_folder, last_folder)
"""What may tell the part of the data that a tar or a table belongs to; the first that does is believed."""


def for_tests(name: str) -> str:
    """What to call a part that is set apart, where nothing else tells it from the other."""
    return f"{name} (for tests)"


def split(files: Sequence[Listed], *parts: Callable[[str], str]) -> tuple[list[Listed], list[Listed]]:
    """Files to train on, and those set apart: by how the name of the part that they are in begins.

    Only where some begin with `train` and others with `test`, `val`, `valid` or `validation`; what begins otherwise is
    trained on.

    Args:
        files: all of them.
        parts: give the name of the part that a file is in; the first that tells such parts is believed.
    """
    for part in parts:
        kinds = [SPLIT.match(part(name)) for name, _ in files]
        words = {kind[1].lower() for kind in kinds if kind}
        if "train" in words and len(words) > 1:
            train = [kind is None or kind[1].lower() == "train" for kind in kinds]
            return list(compress(files, train)), list(compress(files, map(not_, train)))
    return list(files), []


def _saved_dataset(path: Path, skipped: SkipLog) -> ImageSplits:
    """What `save_to_disk` wrote: one data set, or several splits of one."""
    if (path / "state.json").is_file():
        return ImageSplits(_some(dataset_of(_shards(path), path.name, skipped.say), path))
    splits = [each for each in _json(path / "dataset_dict.json").get("splits", []) if isinstance(each, str)]
    train = "train" if "train" in splits else splits[0] if splits else ""
    if not (path / train / "state.json").is_file():
        raise NoTrainingData(f"{path} is a data set without its parts.", f"Expected {KINDS}.", "Save it again.")
    test = next((each for each in ("test", "validation", "val") if each in splits and each != train), None)
    return ImageSplits(
        _some(dataset_of(_shards(path / train), f"{path.name}/{train}", skipped.say), path),
        None if test is None else dataset_of(_shards(path / test), f"{path.name}/{test}", skipped.say),
    )


def _shards(path: Path) -> list[Path]:
    """The files of one data set.

    Raises:
        NoTrainingData: it names none, or one that is not there.
    """
    named = _json(path / "state.json").get("_data_files")
    files = [each.get("filename") for each in named if isinstance(each, dict)] if isinstance(named, list) else []
    shards = [path / Path(name).name for name in files if isinstance(name, str)]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if not shards or missing:
        told = f"lacks {printable(missing[0])}" if missing else "names no files"
        raise NoTrainingData(f"The data set in {path} {told}.", "", "Save or copy it again.")
    return shards


def _json(path: Path) -> dict[str, Any]:
    try:
        words = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NoTrainingData(f"{path} cannot be read: {error}.", "", "Save the data set again.") from error
    return words if isinstance(words, dict) else {}


def _some(images: ImageDataset, path: Path) -> ImageDataset:
    if not len(images):
        raise NoTrainingData(f"{path} holds no images.", f"Expected {KINDS}.", "Check the name.")
    return images
