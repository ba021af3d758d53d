"""Resolve names to files in the models folders, or to files of known VAEs.

A name may be, in order of precedence: the path below a models folder; that path without the extension; the file's
name; the file's name without the extension; the checkpoint's name, for a file such as `model.vae.pt` beside it, which
takes precedence over the checkpoint itself; the name of a known VAE whose file is present under any name, or in the
Hub's cache. Two files for one name are an error.

Resolving the name of a file does not import torch, so that cached results are returned quickly.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from vaekit.catalog.tables import packaged, packaged_weights
from vaekit.errors import AmbiguousName, NotFound, printable
from vaekit.formats.paths import missing_target
from vaekit.library.folders import LocalWeights, models_folders, scan_all
from vaekit.reading import exists, real_path


@contextmanager
def locate_vae(name_or_path: str | Path, models: Sequence[Path] | None = None) -> Iterator[Path]:
    """The file with this name, or the path itself.

    The name of a VAE inside the package takes precedence: `./builtin` means the path. Then an existing path; then
    the result of `find_named` in the models folders.

    Raises:
        NotFound: it is neither a name nor an existing path, or a known VAE that was not downloaded yet.
        AmbiguousName: several files match this name.
    """
    inside = packaged_weights().get(str(name_or_path))
    if inside is not None:
        with resources.as_file(packaged(inside)) as path:
            yield path
    elif exists(Path(name_or_path)):
        yield Path(name_or_path)
    elif target := missing_target(Path(name_or_path)):
        raise NotFound(
            f"{printable(str(name_or_path))} is a link to {printable(target)}, which does not exist.",
            "Expected a link to a file.",
            "Download the file that it points to again, or give the file itself.",
        )
    else:
        yield find_named(str(name_or_path), models_folders(models))


def find_named(name: str, folders: Sequence[Path]) -> Path:
    """The file or folder with this name.

    Raises:
        AmbiguousName: several files match this name.
        NotFound: none matches, or it is a known VAE that was not downloaded yet.
    """
    below = [folder / name for folder in folders if _is_below(name) and exists(folder / name)]
    if below:
        return below[0]  # the first of several folders, as with PATH
    local, _ = scan_all(folders)
    fitting = matching_files(name, local)
    if len(fitting) > 1:
        raise AmbiguousName(
            f"{len(fitting)} files match {printable(name)!r}: {', '.join(str(entry.path) for entry in fitting)}.",
            "Expected a name that matches one file.",
            "Give a longer name, with the extension or the folder, or the path.",
        )
    if fitting:
        return fitting[0].path
    from vaekit.library.known_vaes import known_file  # imports torch

    return known_file(name, local, folders)


def matching_files(name: str, local: Sequence[LocalWeights]) -> list[LocalWeights]:
    """The files that match a name best: one, or several if the name is ambiguous."""
    return _fitting(name, _index(local))


def _index(local: Sequence[LocalWeights]) -> list[dict[str, list[LocalWeights]]]:
    """The files by name, one table for each form of name, in order of precedence."""
    tables: list[dict[str, list[LocalWeights]]] = [defaultdict(list) for _ in range(4)]
    for entry in local:
        forms = (
            {entry.relative},
            {entry.relative.removesuffix(entry.ending)},
            {entry.path.name},
            {entry.stem, entry.beside} - {""},
        )
        for table, names in zip(tables, forms, strict=True):
            for name in names:
                table[name].append(entry)
    return tables


def _fitting(name: str, tables: Sequence[Mapping[str, list[LocalWeights]]]) -> list[LocalWeights]:
    fitting = next((table[name] for table in tables if name in table), [])
    distinct = list({real_path(entry.path): entry for entry in fitting}.values()) if len(fitting) > 1 else fitting
    return [entry for entry in distinct if entry.beside == name] or distinct


def names_of(local: Sequence[LocalWeights]) -> dict[Path, str]:
    """The shortest unique name of each file; its path if there is none."""
    tables = _index(local)
    named: dict[Path, str] = {}
    for entry in local:
        shorter = (entry.stem, entry.path.name, entry.relative.removesuffix(entry.ending), entry.relative)
        own = (name for name in shorter if name not in packaged_weights() and _fitting(name, tables) == [entry])
        named[entry.path] = next(own, str(entry.path))
    return named


def _is_below(name: str) -> bool:
    """Whether a name can be a relative path below a folder."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
