"""A name -> a file in the models folders, or a known VAE's file wherever it is.

What a name may be, the first that fits wins: the path below a models folder; that path without the ending; the file's
name; the file's name without the ending; the checkpoint's name, for a file such as `model.vae.pt` beside it, which
wins over the checkpoint itself; the name of a known VAE whose very file is there under whatever name, or in the cache
of the Hub. Two files for one name are an error, never a choice.

Nothing here imports torch for the name of a file: what is cached about it can be told without.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from vaekit.catalog.tables import packaged, packaged_weights
from vaekit.errors import AmbiguousName, printable
from vaekit.formats.paths import exists
from vaekit.library.folders import Entry, models_folders, scan_all


@contextmanager
def locate_vae(name_or_path: str | Path, models: Sequence[Path] | None = None) -> Iterator[Path]:
    """The file that a name stands for, or the path itself.

    The name of a VAE inside the package wins: `./builtin` means the path. Then a path to something that is there; then
    what `find_named` finds in the models folders.

    Raises:
        NotFound: it is neither a name nor a path to something, or a known VAE that was not fetched yet.
        AmbiguousName: several files have this name.
    """
    inside = packaged_weights().get(str(name_or_path))
    if inside is not None:
        with resources.as_file(packaged(inside)) as path:
            yield path
    elif exists(Path(name_or_path)):
        yield Path(name_or_path)
    else:
        yield find_named(str(name_or_path), models_folders(models))


def find_named(name: str, folders: Sequence[Path]) -> Path:
    """The file or folder that a name stands for.

    Raises:
        AmbiguousName: several files have this name.
        NotFound: none has, or it is a known VAE that was not fetched yet.
    """
    below = [folder / name for folder in folders if _is_below(name) and exists(folder / name)]
    if below:
        return below[0]  # of several folders, the first: as with PATH
    entries, _ = scan_all(folders)
    fitting = entries_named(name, entries)
    if len(fitting) > 1:
        raise AmbiguousName(
            f"{len(fitting)} files are called {printable(name)!r}: {', '.join(str(entry.path) for entry in fitting)}.",
            "Expected a name that only one file has.",
            "Give more of its name, with the ending or the folder, or its path.",
        )
    if fitting:
        return fitting[0].path
    from vaekit.library.known_vaes import known_file  # imports torch

    return known_file(name, entries, folders)


def entries_named(name: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that a name fits best: one in good order, several where the name does not tell them apart."""
    return _fitting(name, _index(entries))


def _index(entries: Sequence[Entry]) -> list[dict[str, list[Entry]]]:
    """What each name may stand for, a table for each way of naming; the ways in order."""
    tables: list[dict[str, list[Entry]]] = [defaultdict(list) for _ in range(4)]
    for entry in entries:
        ways = (
            {entry.relative},
            {entry.relative.removesuffix(entry.ending)},
            {entry.path.name},
            {entry.stem, entry.beside} - {""},
        )
        for table, names in zip(tables, ways, strict=True):
            for name in names:
                table[name].append(entry)
    return tables


def _fitting(name: str, tables: Sequence[Mapping[str, list[Entry]]]) -> list[Entry]:
    fitting = next((table[name] for table in tables if name in table), [])
    distinct = list({entry.path.resolve(): entry for entry in fitting}.values()) if len(fitting) > 1 else fitting
    return [entry for entry in distinct if entry.beside == name] or distinct


def names_of(entries: Sequence[Entry]) -> dict[Path, str]:
    """The shortest name of each entry that stands for it alone; its path where nothing shorter does."""
    tables = _index(entries)
    named: dict[Path, str] = {}
    for entry in entries:
        shorter = (entry.stem, entry.path.name, entry.relative.removesuffix(entry.ending), entry.relative)
        own = (name for name in shorter if name not in packaged_weights() and _fitting(name, tables) == [entry])
        named[entry.path] = next(own, str(entry.path))
    return named


def _is_below(name: str) -> bool:
    """Whether a name can be the path of something below a folder."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
