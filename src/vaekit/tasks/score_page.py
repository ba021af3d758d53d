"""An HTML page about scores that were written: histogram, detection of labelled anomalies, and the reasons of the most
improbable items."""

import csv
import heapq
import math
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaekit.anomaly.labels import normal_label, plain_label
from vaekit.domains.attribution import Explanation
from vaekit.domains.images.read import IMAGE_ENDINGS, read_image
from vaekit.errors import BadPlan, NoTrainingData
from vaekit.report.anomalies import AnomalyReport, ShownAnomaly, write_anomaly_page
from vaekit.report.page import json_beside
from vaekit.tasks.explain import ExplainOptions, explain_named
from vaekit.tasks.model import OpenModel
from vaekit.tasks.score import ScoreOptions, ScoreResult
from vaekit.tasks.score_lines import LABEL, check_output

MOST = 12
"""Items whose reasons are shown."""
MAPS = "-heat-maps"
"""The ending of the name of the folder of heat maps beside the page."""


@dataclass(frozen=True)
class ScoredLine:
    """A line of the file of scores."""

    name: str
    score: float
    flagged: bool | None
    label: str | None


@dataclass(frozen=True, eq=False)
class WrittenScores:
    """The content of a file of scores, of items that have one."""

    scores: NDArray[np.float64]
    numbers: NDArray[np.int64]
    """The numbers of their labels; 0 for none."""
    labels: Sequence[str | None]
    """By number."""
    worst: Sequence[ScoredLine]
    """The lowest scores, ascending."""

    def labelled(self, normal: str | None) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """The scores of labelled items, and whether each is an anomaly. Without labels of both kinds, all scores.

        Args:
            normal: the label of normal items; None for a usual one.
        """
        used = [self.labels[number] for number in np.unique(self.numbers) if number]
        with suppress(NoTrainingData):
            known = normal_label(used, normal)
            is_anomaly = np.array([label is not None and plain_label(label) != known for label in self.labels])
            has_label = self.numbers > 0
            anomalous = is_anomaly[self.numbers[has_label]]
            if anomalous.any() and not anomalous.all():
                return self.scores[has_label], anomalous
        return self.scores, None


def check_page(page: Path, others: Sequence[Path]) -> None:
    """Check the name of a page before items are scored.

    Args:
        page: the HTML file.
        others: inputs and other outputs.

    Raises:
        CannotWrite: it does not end in `.html` or `.htm`, or would overwrite one of the others.
    """
    json_beside(page)
    check_output(page, others)


def write_score_page(
    model: OpenModel,
    data: Path,
    result: ScoreResult,
    options: ScoreOptions,
    page: Path,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the page of scores, and the heat maps of images into a folder beside it.

    Args:
        model: the VAE.
        data: the items that were scored.
        result: of `score`.
        options: of `score`.
        page: the HTML file.
        say: called with a sentence before a long step.

    Raises:
        CannotWrite: the disk is full, or the like.
        NotFound, NoTrainingData, BadItem: the data cannot be read any more.
    """
    written = read_scores(result.out)
    worst = written.worst
    say(f"Explaining the most improbable {model.domain.items}.")
    explanations, note = reasons_of(model, data, [line.name for line in worst], options, page)
    scores, anomalous = written.labelled(options.normal)
    report = AnomalyReport(
        item=model.domain.item,
        items=model.domain.items,
        score=result.score,
        scores=scores,
        anomalous=anomalous,
        threshold=None if result.threshold is None else result.threshold.value,
        worst=[shown(line, explanations.get(line.name), note) for line in worst],
        compared=result.reference is not None,
        facts=facts_of(data, result, options),
    )
    write_anomaly_page(report, page)


def read_scores(path: Path) -> WrittenScores:
    """Read a file of scores, item by item."""
    scores, numbers = array("d"), array("l")
    known: dict[str | None, int] = {None: 0}
    worst: list[tuple[float, int, ScoredLine]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            if not row["score"]:
                continue
            score, label = float(row["score"]), row.get(LABEL) or None
            scores.append(score)
            numbers.append(known.setdefault(label, len(known)))
            flagged = bool(int(row["flagged"])) if row["flagged"] else None
            entry = (-score, -place, ScoredLine(row["item"], score, flagged, label))
            if len(worst) < MOST:
                heapq.heappush(worst, entry)
            else:
                heapq.heappushpop(worst, entry)
    lowest_first = [line for _, _, line in sorted(worst, reverse=True)]
    return WrittenScores(np.frombuffer(scores), np.frombuffer(numbers, np.dtype("l")), list(known), lowest_first)


def reasons_of(
    model: OpenModel, data: Path, names: Sequence[str], options: ScoreOptions, page: Path
) -> tuple[dict[str, Explanation], str]:
    """The explanations of items by name; or why there are none.

    Raises:
        CannotWrite: the disk is full, or the like.
        NotFound, NoTrainingData, BadItem: the data cannot be read any more.
    """
    folder = page.with_name(f"{page.stem}{MAPS}")
    try:
        found = explain_named(model, data, names, folder, ExplainOptions(options.vae, options.models))
    except BadPlan as error:  # a likelihood without factors
        return {}, error.found
    return {each.name: each for each in found}, ""


def shown(line: ScoredLine, explanation: Explanation | None, note: str) -> ShownAnomaly:
    """An item for the page."""
    files = [] if explanation is None else explanation.files
    images = [path for path in files if path.suffix.lower() in IMAGE_ENDINGS]
    return ShownAnomaly(
        line.name,
        line.score,
        line.flagged,
        line.label,
        () if explanation is None else explanation.reasons,
        read_image(images[0]).pixels if images else None,
        note,
    )


def facts_of(data: Path, result: ScoreResult, options: ScoreOptions) -> dict[str, object]:
    """About the call."""
    threshold = result.threshold
    return {
        "VAE": options.vae,
        "data": str(data),
        "score": result.score,
        "items": f"{result.items:,}",
        "not scored": f"{result.not_scored:,}",
        "flagged": None if threshold is None else f"{result.flagged:,}",
        "threshold": None
        if threshold is None or not math.isfinite(threshold.value)
        else f"{threshold.value:.6g}, by {threshold.rule.replace('_', ' ')}",
        "reference": None if result.reference is None else f"{result.reference_items:,} items, {result.reference}",
        "scores": str(result.out),
    }
