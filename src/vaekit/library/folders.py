"""Scan models folders for weights files.

A models folder holds files in any subfolders. Two structures are special cases: a program's folder with
`VAE` and `Stable-diffusion` in it (A1111, Forge; `vae` and `checkpoints` for ComfyUI), whose subfolders with
VAEs and checkpoints alone are scanned; and a diffusers folder, which is one VAE regardless of its number of files.
Shards of one model are one entry.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePath

from vaekit.errors import CannotWrite, printable
from vaekit.formats.paths import WEIGHTS_ENDINGS
from vaekit.formats.shard_sets import WeightsEntry, is_index, weights_entries
from vaekit.reading import exists, read_json

VAE_SHELVES = frozenset({"vae", "vae-approx", "vae_approx"})
CHECKPOINT_SHELVES = frozenset({"stable-diffusion", "checkpoints"})
"""The names, in lower case, of other programs' folders of VAEs and of whole checkpoints."""
UNFINISHED = ".aria2"
"""The extension of a download manager's file beside an unfinished download."""
AUTOENCODERS = ("autoencoder", "vqmodel", "vae")
"""Substrings, in lower case, of the class names of VAEs in diffusers configs."""


@dataclass(frozen=True)
class LocalWeights:
    """A weights file in a models folder, a set of shards, or a diffusers folder with a VAE."""

    path: Path
    """The path; for shards, that of their index, or of the first shard if there is none."""
    home: Path
    """The models folder."""
    files: tuple[Path, ...]
    """Its files: the index of shards, the weights, and a config, as far as there are any."""
    name: str = ""
    """The name that shards would have as one file; empty for others."""

    @property
    def relative(self) -> str:
        """The path below the models folder, separated by "/"; the folder's own name if it is that folder."""
        return self.path.relative_to(self.home).as_posix() if self.path != self.home else self.path.name

    @property
    def stem(self) -> str:
        """The file's name without its extension; that of a diffusers folder."""
        return PurePath(self.name).stem if self.name else self.path.name.removesuffix(self.ending)

    @property
    def ending(self) -> str:
        """The extension of a weights file; empty for shards and for a folder."""
        return self.path.suffix if self.path == self.files[0] and not self.name else ""

    @property
    def beside(self) -> str:
        """For a file such as `model.vae.pt`, the name `model` of its checkpoint; else empty."""
        return self.stem[: -len(".vae")] if self.stem.lower().endswith(".vae") else ""

    @property
    def bytes(self) -> int:
        """The size of the weights.

        Raises:
            OSError: the file does not exist any more.
        """
        return sum(file.stat().st_size for file in self.files if file.suffix.lower() in WEIGHTS_ENDINGS)


@dataclass(frozen=True)
class Trouble:
    """A path that could not be scanned, and the reason."""

    path: Path
    reason: str


def models_folders(given: Sequence[Path] | None = None) -> tuple[Path, ...]:
    """The models folders: those given, else those of `$VAEKIT_MODELS`, else one in the user's data folder."""
    if given:
        return tuple(path.expanduser() for path in given)
    named = tuple(
        Path(part).expanduser() for part in os.environ.get("VAEKIT_MODELS", "").split(os.pathsep) if part.strip()
    )
    return named or (default_folder(),)


def default_folder() -> Path:
    """The default models folder; `get` creates it."""
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "vaekit" / "models"


def folder_for_new(folders: Sequence[Path]) -> Path:
    """The folder for downloads: the first writable models folder, or its `VAE` subfolder if it has one.

    Raises:
        CannotWrite: none is writable.
    """
    for folder in folders:
        shelves = sorted(shelf for shelf in _shelves(folder) if shelf.name.lower() == "vae")
        place = shelves[0] if shelves else folder
        if _can_write(place):
            return place
    raise CannotWrite(
        f"None of the models folders is writable: {', '.join(map(str, folders))}.",
        "",
        "Give another one with --models, or in VAEKIT_MODELS.",
    )


def scan(folder: Path) -> tuple[list[LocalWeights], list[Trouble]]:
    """List the weights in a models folder, sorted by path. Only config.json files and indexes of shards are opened.

    Links are followed, and each folder is scanned once. Hidden files, unfinished downloads and anything but files
    are omitted. A folder that does not exist or cannot be read is reported.
    """
    weights: list[LocalWeights] = []
    troubles: list[Trouble] = []
    visited: set[tuple[int, int]] = set()
    for shelf in _shelves(folder) or [folder]:
        weights += _walk(shelf, folder, visited, troubles)
    return sorted(weights, key=lambda entry: (entry.relative.lower(), entry.relative)), troubles


def scan_all(folders: Sequence[Path]) -> tuple[list[LocalWeights], list[Trouble]]:
    """List the weights in several models folders; nested folders are listed once."""
    scans = [scan(folder) for folder in folders]
    entries: dict[Path, LocalWeights] = {}
    for entry in (entry for weights, _ in scans for entry in weights):
        entries.setdefault(entry.path.absolute(), entry)
    return list(entries.values()), [trouble for _, troubles in scans for trouble in troubles]


def _walk(start: Path, home: Path, visited: set[tuple[int, int]], troubles: list[Trouble]) -> Iterator[LocalWeights]:
    """Everything below a folder, recursively, except folders that were scanned before."""
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) not in visited:
                visited.add((status.st_dev, status.st_ino))
                entries, below = _look_into(folder, home, troubles)
                yield from entries
                waiting += below
        except OSError as error:
            troubles.append(Trouble(folder, error.strerror or str(error)))


def _look_into(folder: Path, home: Path, troubles: list[Trouble]) -> tuple[list[LocalWeights], list[Path]]:
    """The weights in one folder, and the subfolders to scan."""
    with os.scandir(folder) as listing:
        items = {item.name: item for item in listing if not item.name.startswith(".")}
    if "model_index.json" in items:  # a pipeline: its other subfolders hold no VAEs
        diffusers, below = _diffusers_entry(folder, folder / "vae", home), []
    else:
        diffusers = _diffusers_entry(folder, folder, home)
        if diffusers is not None:
            return [diffusers], []
        below = [Path(item.path) for item in items.values() if item.is_dir()]
    entries = [diffusers] if diffusers is not None else []
    names = []
    for name, item in items.items():
        path = Path(item.path)
        if item.is_dir() or not (is_index(name) or path.suffix.lower() in WEIGHTS_ENDINGS):
            continue
        if f"{name}{UNFINISHED}" in items:
            troubles.append(Trouble(path, "its download is incomplete"))
        elif item.is_file():
            names.append(name)
        elif item.is_symlink():
            troubles.append(Trouble(path, "a broken link"))
    return [*entries, *(_local(entry, home) for entry in weights_entries(folder, names))], below


def _local(entry: WeightsEntry, home: Path) -> LocalWeights:
    is_whole = entry.name == entry.path.name
    present = tuple(file for file in entry.files if exists(file))
    return LocalWeights(entry.path, home, present, "" if is_whole else entry.name)


def _diffusers_entry(folder: Path, place: Path, home: Path) -> LocalWeights | None:
    """The VAE of a diffusers folder, if its subfolder `place` holds one."""
    config = place / "config.json"
    if not config.is_file() or not is_autoencoder(config):
        return None
    entries = weights_entries(place, [file.name for file in place.iterdir() if file.is_file()])
    if not entries:
        return None
    best = min(entries, key=attrgetter("preference"))
    return LocalWeights(folder, home, (*filter(exists, best.files), config))


def is_autoencoder(config: Path) -> bool:
    """Whether a config.json is that of a VAE in diffusers."""
    return any(word in class_in(config).lower() for word in AUTOENCODERS)


def class_in(config: Path) -> str:
    """The class name in a diffusers config.json; empty if there is none."""
    try:
        return printable(str(read_json(config)["_class_name"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _shelves(folder: Path) -> list[Path]:
    """The folders of VAEs and of checkpoints in a program's models folder; empty for other folders."""
    for place in (folder / "models", folder):
        try:
            with os.scandir(place) as listing:
                shelves = {item.name.lower(): Path(item.path) for item in listing if item.is_dir()}
        except OSError:
            continue
        if "vae" in shelves and CHECKPOINT_SHELVES & shelves.keys():
            return [path for name, path in sorted(shelves.items()) if name in VAE_SHELVES | CHECKPOINT_SHELVES]
    return []


def _can_write(folder: Path) -> bool:
    """Whether files can be created in a folder, which may not exist yet."""
    place = folder
    while not exists(place) and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
