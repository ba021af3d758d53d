"""Ranks need no weights, reasons name the differences that are sure, and sentences say what the numbers say."""

import math

import pytest

from vaekit.report.measures import HEADLINES, MEASURES, measures_in
from vaekit.report.records import Comparison, Defect, Estimate
from vaekit.report.verdicts import ranked, reason_for, verdict


def test_the_table_has_every_name_once_and_every_headline() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert set(HEADLINES) <= set(names)
    assert [measure.name for measure in measures_in({"ssim", "psnr"})] == ["psnr", "ssim"]


def test_the_best_in_most_measures_and_pictures_is_first() -> None:
    values = {
        "worse": {"psnr": [20.0, 21.0], "lpips_alex": [0.3, 0.2], "detail_1": [0.5, 1.6]},
        "better": {"psnr": [25.0, 26.0], "lpips_alex": [0.1, 0.3], "detail_1": [0.9, 1.1]},
    }
    assert ranked(values) == ["better", "worse"]


def test_equal_places_are_told_apart_by_psnr_and_gaps_count_for_nobody() -> None:
    values = {
        "a": {"psnr": [20.0, 30.0], "delta_e": [math.nan, 2.0]},
        "b": {"psnr": [25.0, 29.0], "delta_e": [1.0, 2.0]},
    }
    assert ranked(values) == ["b", "a"]


def comparison(measure: str, difference: float, spread: float, p: float) -> Comparison:
    return Comparison(measure, "a", "b", difference, difference - spread, difference + spread, p)


def test_reasons_name_both_sides_and_what_is_not_sure() -> None:
    found = [
        comparison("psnr", 2.0, 0.5, 0.001),
        comparison("lpips_alex", 0.05, 0.01, 0.01),
        comparison("delta_e", -0.1, 0.5, 0.6),
    ]
    means = {
        "a": {"psnr": Estimate(30.0), "lpips_alex": Estimate(0.2), "delta_e": Estimate(1.0)},
        "b": {"psnr": Estimate(28.0), "lpips_alex": Estimate(0.15), "delta_e": Estimate(1.1)},
    }
    first = reason_for("a", ["a", "b"], means, found)
    assert first == "First; against b ahead in PSNR +2 dB; behind in LPIPS (alex) +0.05; no sure difference in dE2000."
    second = reason_for("b", ["a", "b"], means, found)
    assert (
        second == "Number 2; against a ahead in LPIPS (alex) -0.05; behind in PSNR -2 dB; no sure difference in dE2000."
    )
    assert reason_for("a", ["a"], means, []) == "The only one."


def test_more_detail_than_there_was_is_not_better() -> None:
    means = {"a": {"detail_1": Estimate(0.95)}, "b": {"detail_1": Estimate(1.4)}}
    said = reason_for("a", ["a", "b"], means, [comparison("detail_1", -0.45, 0.1, 0.01)])
    assert "ahead in Detail kept" in said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"delta_e": 0.4, "delta_e_95": 1.1}, "Keeps colour within 0.4 dE2000"),
        ({"detail_1": 0.7, "power_1": 0.5}, "Softens detail above half Nyquist by 30 %."),
        ({"detail_1": 0.7, "power_1": 1.0}, "Softens detail above half Nyquist by 30 % and paints some of it anew."),
        ({"detail_1": 0.99, "power_1": 1.0}, "Keeps 99 % of the detail above half Nyquist."),
        ({"highlights_clipped": 2.1}, "Clips 2.1 % of the pixels in the highlights."),
        ({"contrast": 0.9}, "Lowers contrast by 10.0 %."),
        ({"chroma_bias": -15.0}, "Makes colours 15.0 % paler."),
        ({"green_shift": 1.5}, "Shifts green by +1.0 levels"),
        ({"brightness": -3.0}, "Makes pictures darker by 3.0 levels"),
        ({"grid_flat": 1.3}, "Leaves a grid of 1.3/255 on flat colours."),
        ({"text_contrast": 0.6, "ocr_errors": 12.0}, "keeps 60 % of its contrast; 12 % of the letters are misread."),
        ({"drift_psnr": 3.0, "drift_colour": 8.0}, "Eight passes lose 3.0 dB and shift a channel by up to 8.0 levels."),
    ],
)
def test_a_number_becomes_a_sentence(values: dict[str, float], words: str) -> None:
    (sentence,) = verdict({name: Estimate(value) for name, value in values.items()}, ())
    assert words in sentence


def test_what_is_as_it_should_be_is_not_told() -> None:
    fine = {"contrast": 1.001, "red_shift": 0.1, "highlights_clipped": 0.0, "grid_flat": 0.02, "text_contrast": 0.97}
    assert verdict({name: Estimate(value) for name, value in fine.items()}, ()) == ()


def test_defects_come_first() -> None:
    grid = Defect("grid", 1.3, "levels of 255", "A pattern repeats every 8 pixels.")
    said = verdict({"delta_e": Estimate(1.0), "delta_e_95": Estimate(2.0)}, (grid,))
    assert said[0] == grid.evidence
    assert len(said) == 2
