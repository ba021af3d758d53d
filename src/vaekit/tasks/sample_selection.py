"""Which samples are kept: valid ones, each once, and those that are not in a data set."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import whole
from vaekit.domains.item_batches import open_items
from vaekit.domains.record_tensors import AT_ONCE, batch_of
from vaekit.errors import BadPlan, counted
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel

WINDOW, FEWEST = 10_000, 10
"""Sampling ends when of this number of draws, fewer than the second number are wanted."""


@dataclass(eq=False)
class Selection:
    """Passes over samples that are not wanted, and counts them."""

    model: OpenModel
    unique: bool = False
    """Each item once."""
    keep_invalid: bool = False
    known: frozenset[str] = frozenset()
    """The texts of items that are left out."""
    drawn: int = 0
    kept: int = 0
    invalid: int = 0
    """That were drawn, kept or not."""
    repeated: int = 0
    already_known: int = 0
    seen: set[str] = field(default_factory=set)
    window_start: int = 0
    """The number that was kept before the last draws."""
    few_wanted: int | None = None
    """How many of the last draws were wanted, if these were almost none: more of them would hardly find others."""

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """The wanted ones of samples."""
        for item in items:
            self.drawn += 1
            is_wanted = self.wants(item)
            self.kept += is_wanted
            if self.drawn % WINDOW == 0:
                wanted, self.window_start = self.kept - self.window_start, self.kept
                self.few_wanted = wanted if wanted < FEWEST else self.few_wanted
            if is_wanted:
                yield item

    def missing(self, wanted: int) -> int:
        """How many samples are still to be found; 0 if they would hardly be found."""
        return 0 if self.few_wanted is not None else wanted - self.kept

    def wants(self, item: Any) -> bool:
        """Whether a sample is wanted, which is counted."""
        if not self.model.domain.is_valid(item):
            self.invalid += 1
            if not self.keep_invalid:
                return False
        if not self.unique and not self.known:
            return True
        text = self.model.domain.text(item)
        assert text is not None
        if text in self.known:
            self.already_known += 1
            return False
        if self.unique:
            if text in self.seen:
                self.repeated += 1
                return False
            self.seen.add(text)
        return True

    @property
    def left_out(self) -> str:
        """How many samples were passed over and why, a phrase; empty for none."""
        invalid = 0 if self.keep_invalid else self.invalid
        counts = {"invalid": invalid, "repeated": self.repeated, "known": self.already_known}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    def notes(self, wanted: int) -> tuple[str, ...]:
        """Notes on the samples that are missing, and on those that were left out."""
        items = counted(wanted, self.model.domain.item, self.model.domain.items)
        few = (
            f", as of the last {WINDOW:,} almost none were wanted ({self.few_wanted})"
            if self.few_wanted is not None
            else ""
        )
        gave_up = f"Only {self.kept:,} of {items}: gave up after {self.drawn:,} were drawn{few}."
        found = () if self.kept == wanted else (gave_up,)
        if self.left_out:
            return (*found, f"Of {self.drawn:,} that were drawn, left out: {self.left_out}.")
        if self.invalid:
            return (*found, f"Of {self.drawn:,} that were drawn, {self.invalid:,} are invalid.")
        return found


def selection(
    model: OpenModel, unique: bool, new_to: Path | None, keep_invalid: bool, progress: Progress = no_progress
) -> tuple[Selection, tuple[str, ...]]:
    """What is kept of samples, and notes on the data that they should not be in.

    Args:
        model: the VAE.
        unique: keep each item once.
        new_to: a data set whose items are left out, compared as the domain writes them; None for none.
        keep_invalid: keep invalid items, too.
        progress: called with the number of items of the data that were read, and of all.

    Raises:
        BadPlan: items of the domain cannot be compared.
        NotFound, NoTrainingData: the data cannot be read.
    """
    if not unique and new_to is None:
        return Selection(model, keep_invalid=keep_invalid), ()
    (example,) = model.schema.to_items(model.schema.example())
    if model.domain.text(example) is None:
        option = "--unique" if unique else "--new-to"
        raise BadPlan(
            f"Two {model.domain.items} are hardly ever equal, so that {option} has no meaning.",
            "Expected items that can be compared, such as sentences, molecules or rows.",
            f"Leave out {option}.",
        )
    if new_to is None:
        return Selection(model, unique, keep_invalid), ()
    known, skipped = texts_in(model, new_to, progress)
    note = f"{skipped:,} of {new_to} cannot be read, and are not compared with." if skipped else ""
    return Selection(model, unique, keep_invalid, known), (note,) if note else ()


def texts_in(model: OpenModel, path: Path, progress: Progress) -> tuple[frozenset[str], int]:
    """The items of a data set as the domain writes them, and how many cannot be read."""
    log = SkipLog()
    data = whole(open_items(model.domain, path, log, model.schema))
    texts: set[str] = set()
    for start in range(0, len(data), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(data)))
        for x in batch_of(data, numbers, model.schema, log):
            texts.update(text for item in model.schema.to_items(x) if (text := model.domain.text(item)) is not None)
        progress(numbers.stop, len(data))
    return frozenset(texts), len(log.reasons)
