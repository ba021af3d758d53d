from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaekit.domains.attribution import Reason
from vaekit.report.anomalies import (
    HEIGHT,
    AnomalyReport,
    ShownAnomaly,
    roc_curve,
    score_histogram,
    score_text,
    write_anomaly_page,
)

SCORES = np.concatenate([np.linspace(0, 1, 90), np.linspace(-1, 0.2, 10), [-1e9]])
ANOMALOUS = np.arange(101) >= 90


def report(**changes: object) -> AnomalyReport:
    made: dict[str, Any] = {"scores": SCORES, "anomalous": ANOMALOUS, "threshold": 0.1, **changes}
    return AnomalyReport("row", "rows", "likelihood", **made)


def test_extreme_scores_do_not_widen_the_histogram() -> None:
    found = score_histogram(report())
    assert found is not None
    assert (found.outside, found.high) == (1, "1.000")
    assert found.threshold is not None
    assert score_histogram(report(threshold=-5e8)).threshold is None  # type: ignore[union-attr]
    assert f" {HEIGHT}" in found.normal
    assert score_histogram(report(scores=np.full(3, -np.inf), anomalous=None)) is None
    assert score_histogram(report(scores=np.ones(3), anomalous=None)) is not None


def test_the_curve_passes_through_the_threshold() -> None:
    found = roc_curve(report())
    assert found is not None
    flagged = SCORES < 0.1
    assert found.recall == pytest.approx(flagged[ANOMALOUS].mean())
    assert found.false_positives == pytest.approx(flagged[~ANOMALOUS].mean())
    assert found.path.startswith("M0.00 100.00L")
    assert found.path.endswith("100.00 0.00")
    assert roc_curve(report(anomalous=None)) is None


def test_numbers_for_people() -> None:
    assert [score_text(each) for each in (0.0, -0.5, 12345.6)] == ["0", "\N{MINUS SIGN}0.5000", "12,346"]


def test_a_page_escapes_names_and_shows_reasons(tmp_path: Path) -> None:
    reasons = [Reason("<b>amount", "9", "1", 3.25, "0 to 2")]
    worst = [
        ShownAnomaly("row<1>", -3.0, True, "fraud", reasons, torch.zeros(1, 3, 4, 4)),
        ShownAnomaly("row 2", -np.inf, note="no factors"),
    ]
    write_anomaly_page(report(worst=worst), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    for text in ("row&lt;1&gt;", "&lt;b&gt;amount", "+3.25", "0 to 2", "no factors", "ROC curve", "data:image/webp"):
        assert text in page
    assert "<b>amount" not in page
    write_anomaly_page(report(anomalous=None, threshold=None), tmp_path / "plain.html")
    assert "ROC" not in (tmp_path / "plain.html").read_text("utf-8")


@pytest.mark.parametrize(("low", "text"), [(1, "1 score beyond"), (2, "2 scores beyond")])
def test_numbers_agree_with_their_nouns(low: int, text: str, tmp_path: Path) -> None:
    scores = np.concatenate([np.linspace(0, 1, 90), np.full(low, -1e9)])
    write_anomaly_page(report(scores=scores, anomalous=None), tmp_path / "page.html")
    assert text in (tmp_path / "page.html").read_text("utf-8")
    write_anomaly_page(report(scores=scores[:1], anomalous=None), tmp_path / "page.html")
    assert "1 row by the score" in (tmp_path / "page.html").read_text("utf-8")
