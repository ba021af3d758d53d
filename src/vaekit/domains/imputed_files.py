"""Fill in the missing values of the items in files, and leave all others as they are."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.domains.domain import Domain, LoadedItems, Schema
from vaekit.domains.files import FileResult
from vaekit.domains.imputation import ImputedItems, Imputer
from vaekit.domains.record_files import in_place, skip_notes, value_count
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.pipeline import Stages


@dataclass(frozen=True)
class ImputedFile:
    """A file whose missing values were filled in."""

    file: Path
    output: Path
    items: int
    imputed: int
    """The number of values that were filled in."""
    intervals: Path
    """The file with these values and their intervals."""
    skipped: Mapping[str, str]
    """Name to reason, for items that cannot be read."""
    notes: tuple[str, ...]
    seconds: float

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        counts = {"items": f"{self.items:,}", "imputed": f"{self.imputed:,}", "intervals": self.intervals.name}
        return {"file": self.file.name, **counts, "time": f"{self.seconds:.2f} s"}


def intervals_path(output: Path) -> Path:
    """The file with the values that were filled in, for the file of the items."""
    return output.with_suffix(f".imputed{output.suffix}")


def imputing_stages(
    domain: Domain,
    schema: Schema,
    imputer: Imputer,
    encode: Callable[[LoadedItems], VAEPass],
    outputs: Mapping[Path, Path],
) -> Stages[Path, Any, Any, FileResult]:
    """Read files, fill in their missing values, and write them.

    Args:
        domain, schema: of the items.
        imputer: of the domain.
        encode: items -> the items in a VAE.
        outputs: the file to write for each file that is read.
    """

    def run(_: Path, loaded: LoadedItems) -> tuple[LoadedItems, ImputedItems, float]:
        started = time.perf_counter()
        imputed = imputer.impute(encode(loaded), loaded.originals)
        return loaded, imputed, time.perf_counter() - started

    def write(path: Path, ran: tuple[LoadedItems, ImputedItems, float]) -> ImputedFile:
        loaded, imputed, seconds = ran
        target = outputs[path]
        domain.write(in_place(imputed.items, loaded.unusable), target, schema)
        imputer.write(imputed.values, intervals_path(target))
        return ImputedFile(
            file=path,
            output=target,
            items=len(imputed.items),
            imputed=len(imputed.values),
            intervals=intervals_path(target),
            skipped=loaded.skipped,
            notes=skip_notes(loaded, domain.items),
            seconds=seconds,
        )

    return Stages(lambda path: domain.read(path, schema), run, write, value_count)
