"""Ranks need no weights, reasons name the significant differences, and sentences state the values."""

import math
import re

import pytest
from refusals import lacks

from vaekit.comparison.measure_table import HEADLINES, MEASURES, measures_in
from vaekit.comparison.records import Comparison, Defect, Estimate
from vaekit.comparison.verdicts import ranked, reason_for, significant, verdict


def in_order(text: str, *facts: str) -> bool:
    """Whether the text holds the facts, one after the other."""
    return re.search(".*".join(map(re.escape, facts)), text) is not None


def test_the_table_has_every_name_once_and_every_headline() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert set(HEADLINES) <= set(names)
    assert [measure.name for measure in measures_in({"ssim", "psnr"})] == ["psnr", "ssim"]


def test_the_best_in_most_measures_and_images_is_first() -> None:
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
    assert in_order(first, "b", "PSNR", "+2 dB", "LPIPS (alex)", "+0.05", "dE2000")
    second = reason_for("b", ["a", "b"], means, found)
    assert in_order(second, "a", "LPIPS (alex)", "-0.05", "PSNR", "-2 dB", "dE2000")
    alone = reason_for("a", ["a"], means, [])
    assert not any(measure in alone for measure in ("PSNR", "LPIPS", "dE2000"))


def test_a_difference_is_significant_by_its_test_and_its_interval() -> None:
    assert significant(comparison("psnr", 2.0, 0.5, 0.05))
    assert not significant(comparison("psnr", 2.0, 2.5, 0.03))  # one outlier: all signs agree, the interval holds 0
    assert not significant(comparison("psnr", 2.0, 0.5, 0.25))  # an interval of three images proves nothing
    assert not significant(comparison("psnr", 0.0, 0.0, 0.01))


def test_more_detail_than_there_was_is_not_better() -> None:
    means = {"a": {"detail_1": Estimate(0.95)}, "b": {"detail_1": Estimate(1.4)}}
    said = reason_for("a", ["a", "b"], means, [comparison("detail_1", -0.45, 0.1, 0.01)])
    assert "Detail kept" in said


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"delta_e": 0.4, "delta_e_95": 1.1}, ["0.4 dE2000"]),
        ({"detail_1": 0.7, "power_1": 0.5}, ["30 %"]),
        ({"detail_1": 0.7, "power_1": 1.0}, ["30 %"]),
        ({"detail_1": 0.99, "power_1": 1.0}, ["99 %"]),
        ({"highlights_clipped": 2.1}, ["2.1 %", "highlights"]),
        ({"contrast": 0.9}, ["contrast", "10.0 %"]),
        ({"chroma_bias": -15.0}, ["15.0 %"]),
        ({"green_shift": 1.5}, ["green", "1.0"]),
        ({"brightness": -3.0}, ["darker", "3.0"]),
        ({"grid_flat": 1.3}, ["grid", "1.3"]),
        ({"text_contrast": 0.6, "ocr_errors": 12.0}, ["60 %", "12 %"]),
        ({"drift_psnr": 3.0, "drift_color": 8.0}, ["3.0 dB", "8.0"]),
    ],
)
def test_a_number_becomes_a_sentence(values: dict[str, float], facts: list[str]) -> None:
    (sentence,) = verdict({name: Estimate(value) for name, value in values.items()}, ())
    assert not lacks(sentence, *facts)


def test_what_is_as_it_should_be_is_not_told() -> None:
    fine = {"contrast": 1.001, "red_shift": 0.1, "highlights_clipped": 0.0, "grid_flat": 0.02, "text_contrast": 0.97}
    assert verdict({name: Estimate(value) for name, value in fine.items()}, ()) == ()


def test_defects_come_first() -> None:
    grid = Defect("grid", 1.3, "levels of 255", "A pattern repeats every 8 pixels.")
    said = verdict({"delta_e": Estimate(1.0), "delta_e_95": Estimate(2.0)}, (grid,))
    assert said[0] == grid.evidence
    assert len(said) == 2


def test_too_few_images_are_given_as_the_reason() -> None:
    means = {"a": {"psnr": Estimate(40.0)}, "b": {"psnr": Estimate(20.0)}}
    few = Comparison("psnr", "a", "b", 20.0, 19.0, 21.0, 0.25, 3)
    assert in_order(reason_for("a", ["a", "b"], means, [few]), "no significant difference in PSNR", "3 images", "6")
    many = Comparison("psnr", "a", "b", 20.0, -1.0, 41.0, 0.25, 12)
    assert "images," not in reason_for("a", ["a", "b"], means, [many])
