"""The page of an evaluation with samples."""

import math
from pathlib import Path

import torch

from vaekit.domains.sample_quality import Histogram, SampleQuality
from vaekit.evaluation.evaluate import Evaluation
from vaekit.evaluation.measures import Result
from vaekit.evaluation.protocol import Protocol
from vaekit.metrics.measure import Measure
from vaekit.report.evaluation_page import HEIGHT, WIDTH, EvaluationReport, histogram_paths, write_evaluation_page

VALID = Measure("valid", "valid", "", "higher", "Share of <valid> samples.")
PROTOCOL = Protocol("f", "d", 2, "all", {"file": "<script>alert(1)</script>"}, "mode", 0, {}, 1, {})


def report(values: dict[str, float]) -> EvaluationReport:
    results = (Result(VALID, math.nan), Result(VALID, 0.5, 0.1, 0.4, 0.6, 2))
    evaluation = Evaluation(PROTOCOL, results, {"FCD": "It is <b>not</b> installed."}, (), 2, ())
    shares = [0.0, 0.25, 0.75]
    quality = SampleQuality(
        values,
        (VALID,),
        {"QED": math.nan},
        "property",
        {"novel": "No data \x1b[31m."},
        (Histogram("QED", 0.0, 1.0, shares, [0.0] * 3),),
    )
    return EvaluationReport("molecule", "molecules", evaluation, 3, quality, torch.zeros(3, 20, 30))


def test_the_page_holds_all_results_and_nothing_foreign(tmp_path: Path) -> None:
    write_evaluation_page(report({"valid": 0.75}), tmp_path / "evaluation.html")
    page = (tmp_path / "evaluation.html").read_text("utf-8")
    assert "0.75" in page and "0.4 to 0.6" in page and "&lt;b&gt;not&lt;/b&gt;" in page
    assert "<script" not in page and "\x1b" not in page and "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/webp") == 1 and page.count('<path class="samples"') == 1


def test_values_that_are_no_numbers_are_shown(tmp_path: Path) -> None:
    write_evaluation_page(report({"valid": math.nan}), tmp_path / "evaluation.html")
    assert "nan" in (tmp_path / "evaluation.html").read_text("utf-8")


def test_histograms_are_closed_paths_on_one_scale() -> None:
    paths = histogram_paths(Histogram("QED", 0.0, 2.0, [0.5, 0.5], [0.0, 1.0]), 0.25)
    assert (paths.low, paths.high, paths.distance) == ("0", "2", "0.25")
    for path in (paths.data, paths.samples):
        assert path.startswith(f"M0 {HEIGHT}") and path.endswith(f"L{WIDTH} {HEIGHT}Z")
    assert f"{HEIGHT / 2:.1f}" in paths.data and " 0.0" in paths.samples
