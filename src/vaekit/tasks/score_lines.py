"""The file of scores: a line for each item, with columns of the data where they are kept."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaekit.anomaly.labels import plain_label
from vaekit.anomaly.thresholds import Threshold
from vaekit.domains.domain import ItemBatch
from vaekit.errors import CannotWrite
from vaekit.metrics.detection import auroc, average_precision
from vaekit.tasks.scorer import is_empty

HEADER = ("item", "score", "flagged", "reason")
LABEL = "label"
"""The next column, if there are labels."""
OF_DATA = " (data)"
"""The end of the names of kept columns that are called like one of the others."""
SCORES_START, RECORD_START = ",".join(HEADER).encode(), b'{\n  "vaekit":'
"""How a file of scores and its record begin."""
DIGITS = 9
"""Significant digits of written scores."""
MOST_REASONS = 20
"""Items without a score that a result lists."""
NOT_FINITE, NO_VALUE = "Its score is not a number.", "All of its values are missing."


@dataclass(frozen=True, eq=False)
class Detection:
    """How well the score separates labelled items."""

    auroc: float
    average_precision: float
    normal: int
    anomalies: int


def check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Check that the output overwrites no input.

    Raises:
        CannotWrite: it would.
    """
    if os.path.realpath(out) in {os.path.realpath(path) for path in inputs}:
        raise CannotWrite(f"The output {out} would overwrite an input.", "", "Choose another file.")


def record_beside(out: Path) -> Path:
    """The path of the record beside a file of scores."""
    return out.with_name(f"{out.name}.json")


def check_scores_output(out: Path, inputs: Sequence[Path]) -> None:
    """Check that neither a file of scores nor its record overwrites an input, or a file that is something else, such as
    the weights of a VAE.

    Raises:
        CannotWrite: it would.
    """
    for path, start, content in (
        (out, SCORES_START, "scores"),
        (record_beside(out), RECORD_START, "a record of a call"),
    ):
        check_output(path, inputs)
        if path.is_file() and not begins_with(path, start):
            raise CannotWrite(
                f"{path} exists, and does not hold {content}.",
                f"Expected a new name, or a file that `vaekit score` wrote: {out} gets the scores, and "
                f"{record_beside(out).name} beside it the record.",
                "Choose another name, or remove the file.",
            )


def first_scores(out: Path, most: int) -> list[float]:
    """The first scores in a file of scores; NaN for items without one."""
    with open(out, encoding="utf-8", newline="") as file:
        return [float(row[HEADER[1]] or "nan") for row in islice(csv.DictReader(file), most)]


def begins_with(path: Path, start: bytes) -> bool:
    """Whether a file begins so, or is empty; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(start)) in (b"", start)
    except OSError:
        return False


class Totals:
    """What was written so far."""

    def __init__(self) -> None:
        self.items = self.not_scored = self.flagged = 0
        self.reasons: dict[str, str] = {}
        self.labelled: list[NDArray[np.float64]] = []
        """Of labelled items, the scores."""
        self.anomalous: list[NDArray[np.bool_]] = []
        """Of labelled items, whether they are anomalies."""

    def not_scored_because(self, name: str, reason: str) -> None:
        """Count an item without a score."""
        self.not_scored += 1
        if len(self.reasons) < MOST_REASONS:
            self.reasons.setdefault(name, reason)

    def add_labels(self, labels: Sequence[str | None], scores: Tensor, normal: str) -> None:
        """Keep the scores of items with a label."""
        present = np.array([label is not None for label in labels])
        self.labelled.append(scores.numpy()[present])
        self.anomalous.append(np.array([plain_label(label) != normal for label in labels if label is not None], bool))

    def detection(self) -> Detection | None:
        """How well the scores separate the labelled items; None unless both kinds have scores."""
        if not self.labelled:
            return None
        scores, anomalous = np.concatenate(self.labelled), np.concatenate(self.anomalous)
        anomalous, scores = anomalous[~np.isnan(scores)], scores[~np.isnan(scores)]
        anomalies = int(anomalous.sum())
        if anomalies in (0, len(scores)):
            return None
        return Detection(
            auroc(-scores, anomalous), average_precision(-scores, anomalous), len(scores) - anomalies, anomalies
        )


def header_of(labelled: bool, kept: Iterable[str]) -> list[str]:
    """The names of the columns, which are unique.

    >>> header_of(False, ["id", "score"])
    ['item', 'score', 'flagged', 'reason', 'id', 'score (data)']

    Args:
        labelled: whether there are labels.
        kept: the columns of the data that are copied.
    """
    header = [*HEADER, *([LABEL] if labelled else [])]
    taken = {*HEADER, LABEL}  # also without labels: a page takes this column for labels
    for name in kept:
        while name in taken:
            name += OF_DATA
        taken.add(name)
        header.append(name)
    return header


def lines_of(batch: ItemBatch, values: Tensor, threshold: Threshold | None, totals: Totals) -> list[list[str]]:
    """The lines of the first items of a batch."""
    flags = None if threshold is None else threshold.flags(values.numpy())
    lines = []
    for place, value in enumerate(values.tolist()):
        name, reason = batch.names[place], batch.problems.get(place, "")
        scored = value == value
        if not scored:
            reason = reason or (NO_VALUE if is_empty(batch.x[place : place + 1]) else NOT_FINITE)
            totals.not_scored_because(name, reason)
        flag = "" if flags is None or not scored else str(int(flags[place]))
        totals.flagged += flag == "1"
        label = [] if batch.labels is None else [batch.labels[place] or ""]
        kept = [texts[place] for texts in batch.kept.values()]
        lines.append([name, f"{value:.{DIGITS}g}" if scored else "", flag, reason, *label, *kept])
    return lines
