"""Names of output files: one per input, never over an input, never two of one name."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.errors import CannotWrite


def output_paths(inputs: Sequence[Path], folder: Path, ending: str) -> dict[Path, Path]:
    """A file in `folder` for each input, named after it.

    Where inputs share a stem, their own endings stay part of the name; where that is not enough, a number is added.

    Raises:
        CannotWrite: an output would overwrite an input.
    """
    stems = Counter(stem(path) for path in set(inputs))
    outputs: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path in dict.fromkeys(inputs):
        name = stem(path) if stems[stem(path)] == 1 else path.name
        number = 1
        while folder / f"{name}{ending}" in taken:
            number += 1
            name = f"{path.name}-{number}"
        outputs[path] = folder / f"{name}{ending}"
        taken.add(outputs[path])
    resolved = {path.resolve() for path in inputs}
    for output in outputs.values():
        if output.resolve() in resolved:
            raise CannotWrite(f"The output {output} would overwrite an input.", "", "Choose another folder.")
    return outputs


def stem(path: Path) -> str:
    """A file's name without its ending; that of latent files has two parts."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem
