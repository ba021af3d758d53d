"""Run a pipeline over many files: names of the output files, results and failures."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.domains.files import side_by_side_path
from vaekit.errors import CannotWrite, CannotWriteHere, VaekitError
from vaekit.pipeline import Stages, run_pipeline
from vaekit.runtime.threads import single_threaded_initializer

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number of finished items and the number of all."""
WEIGHT_LIMIT = 2**24
"""Pixels in flight at once, if more than one image fits: input and output as floats take 0.4 GB."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Failure:
    """A file that could not be processed, and why."""

    path: str
    error: str


@dataclass
class Batch(Generic[Result]):
    """The results and failures of many files."""

    results: list[Result] = field(default_factory=list)
    """In the order of the files."""
    failures: list[Failure] = field(default_factory=list)
    not_started: list[Failure] = field(default_factory=list)
    """The files that were left out after the output could not be written."""

    @property
    def complete(self) -> bool:
        """Whether every file was processed."""
        return not self.failures and not self.not_started


def run_files(
    paths: Sequence[Path], stages: Stages[Path, Any, Any, Result], progress: Progress = no_progress
) -> Batch[Result]:
    """Process every file; the next ones are read and the previous ones written meanwhile.

    After a user error the other files are still processed. After the first `CannotWriteHere` (a full disk, a folder
    that is not writable) no further file is started.
    """
    batch: Batch[Result] = Batch()
    refusals: list[CannotWriteHere] = []
    remaining = dict.fromkeys(paths)

    def run(path: Path, value: Any) -> Any:
        if refusals:  # the result could not be written
            raise refusals[0]
        return stages.run(path, value)

    started = takewhile(lambda _: not refusals, paths)
    pipeline = run_pipeline(started, replace(stages, run=run), VaekitError, WEIGHT_LIMIT)
    with single_threaded_initializer(), closing(pipeline) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            progress(number, len(paths))
            if isinstance(outcome.error, CannotWriteHere):
                if refusals:
                    continue
                refusals.append(outcome.error)
            del remaining[outcome.item]
            if outcome.error is None:
                batch.results.append(cast("Result", outcome.done))
            else:
                batch.failures.append(Failure(str(outcome.item), str(outcome.error)))
    batch.not_started = [Failure(str(path), f"{path} was not processed: {refusals[0].found}") for path in remaining]
    return batch


def output_paths(inputs: Sequence[Path], folder: Path, ending: str, side_by_side: bool = False) -> dict[Path, Path]:
    """A file in `folder` for each input, named after it.

    Where inputs share a stem, their own endings stay part of the name; where that is not enough, a number is added.

    Args:
        inputs: the files that are read.
        folder: of the outputs.
        ending: of the outputs, with the dot.
        side_by_side: each output has a second file, `side_by_side_path`, whose name must be free, too.

    Raises:
        CannotWrite: an output would overwrite an input.
    """
    stems = Counter(stem(path) for path in set(inputs))
    outputs: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path in dict.fromkeys(inputs):
        name = stem(path) if stems[stem(path)] == 1 else path.name
        number = 1
        while not taken.isdisjoint(files := files_of(folder / f"{name}{ending}", side_by_side)):
            number += 1
            name = f"{path.name}-{number}"
        outputs[path] = files[0]
        taken.update(files)
    real = {os.path.realpath(path) for path in inputs}  # unlike Path.resolve, it accepts a loop of links
    for output in sorted(taken):
        if os.path.realpath(output) in real:
            raise CannotWrite(f"The output {output} would overwrite an input.", "", "Choose another folder.")
    return outputs


def files_of(output: Path, side_by_side: bool) -> list[Path]:
    """The files that are written for one input."""
    return [output, side_by_side_path(output)] if side_by_side else [output]


def stem(path: Path) -> str:
    """A file's name without its ending; that of latent files has two parts."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem
