"""Where results are written: one name for each input, never over an input, never two on one name."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vaekit.errors import CannotWrite


def targets(sources: Sequence[Path], folder: Path, ending: str) -> dict[Path, Path]:
    """A file in `folder` for each source, named after it.

    Sources of one name keep their own ending in the result's name, and a number where that is not enough.

    Raises:
        CannotWrite: a result would take the place of a source.
    """
    stems = Counter(stem(source) for source in set(sources))
    named: dict[Path, Path] = {}
    taken: set[Path] = set()
    for source in dict.fromkeys(sources):
        name = stem(source) if stems[stem(source)] == 1 else source.name
        number = 1
        while folder / f"{name}{ending}" in taken:
            number += 1
            name = f"{source.name}-{number}"
        named[source] = folder / f"{name}{ending}"
        taken.add(named[source])
    inputs = {source.resolve() for source in sources}
    for target in named.values():
        if target.resolve() in inputs:
            raise CannotWrite(f"The result {target} would overwrite an input.", "", "Choose another folder with --out.")
    return named


def stem(path: Path) -> str:
    """A file's name without its ending; the ending of latent files has two parts."""
    from vaekit.checkpoints.latent_files import SUFFIX

    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem
