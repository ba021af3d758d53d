"""A law: sentences, JSON, page and model card of a report agree on which differences are significant."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import numpy as np
import pytest

from vaekit.comparison.candidates import Reconstruction
from vaekit.comparison.compare import Tally, build_report
from vaekit.comparison.measure_table import HEADLINES, MEASURES
from vaekit.comparison.records import MeasuredImage, Report
from vaekit.comparison.signals import NOTHING, Signals
from vaekit.domains.images.read import LoadedImage
from vaekit.report.model_card import measured
from vaekit.report.page import compose

TITLES = {measure.title: measure.name for measure in MEASURES}
KEYS = [measure.title for measure in MEASURES if measure.name in HEADLINES]
BASE = {"psnr": 30.0, "ms_ssim": 0.9, "lpips_alex": 0.2, "delta_e": 3.0, "detail_1": 1.0}


@dataclass
class Measured:
    name: str
    on_cpu: bool = False

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        raise NotImplementedError("its images are measured")

    def about(self) -> Mapping[str, Any]:
        return {}

    def overall(self) -> Mapping[str, float]:
        return {}


def random_report(names: tuple[str, ...], seed: int) -> Report:
    """Few or many images, shifts between none and clear, outliers, missing values."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, 16))
    tallies = []
    for name in names:
        shift = {key: generator.choice([0, 0.3, 1, 3]) * generator.normal() for key in BASE}
        images = []
        for i in range(count):
            noise = generator.standard_t(2, len(BASE)) if seed % 2 else generator.normal(size=len(BASE))
            values = {key: BASE[key] * (1 + 0.02 * (shift[key] + n)) for key, n in zip(BASE, noise, strict=True)}
            if generator.random() < 0.1:
                values["detail_1"] = float("nan")
            images.append(MeasuredImage(f"{i}.png", values))
        tallies.append(Tally(Measured(name), images, [Signals(**NOTHING)] * count))
    return build_report(tallies, (), {})


def claimed(reason: str) -> tuple[set[str], set[str]]:
    """The measures that a reason calls better, worse or different, and those without a significant difference."""
    parts = re.split(r"(no significant difference in )", reason)
    before, after = parts[0], "".join(parts[1:])
    return tuple({TITLES[title] for title in KEYS if title in text} for text in (before, after))  # type: ignore[return-value]


def page_lines(page: str, first: str, second: str) -> list[str]:
    """The lines of one pair of candidates in the pairwise comparisons."""
    comparisons = page.split('<section id="comparisons">')[1].split("</section>")[0]
    for pair in comparisons.split('<div class="pair">')[1:]:
        heading, body = pair.split("</h3>", 1)
        if first in heading and second in heading:
            return [unescape(re.sub("<[^>]+>", "", line)) for line in re.findall("<li>(.*?)</li>", body, re.DOTALL)]
    return []


@pytest.mark.parametrize("seed", range(24))
def test_no_sentence_claims_what_a_table_denies(seed: int) -> None:
    found = random_report(("after", "before", "third"), seed)
    page, values = compose(found, ())
    order = [each.name for each in found.candidates]
    for place, judged in enumerate(found.candidates):
        other = order[1] if place == 0 else order[place - 1]
        pair = [one for one in values["comparisons"] if {one["first"], one["second"]} == {judged.name, other}]
        significant = {one["measure"] for one in pair if one["significant"]}
        assert significant == {
            one["measure"] for one in pair if one["p"] <= 0.05 and not one["low"] <= 0 <= one["high"]
        }
        assert claimed(judged.reason) == (significant, {one["measure"] for one in pair} - significant)
        lines = page_lines(page, judged.name, other)
        assert len(lines) == len(pair)
        for line in lines:
            measure = next(TITLES[title] for title in KEYS if title in line)
            assert ("no significant difference" in line or "no difference" in line) == (measure not in significant)
            if measure in significant:  # the winner is the same in the sentence
                won = re.search(r"(after|before|third) better", line)
                sides = judged.reason.split("worse in")
                title = next(title for title in KEYS if title in line)
                assert won is not None
                assert (title in sides[0]) == (won.group(1) == judged.name)


@pytest.mark.parametrize("seed", range(12))
def test_the_model_card_calls_the_same_changes_significant(seed: int) -> None:
    found = random_report(("after", "before"), seed)
    card = measured(found)
    for one in found.comparisons:
        title = next(measure.title for measure in MEASURES if measure.name == one.measure)
        (row,) = [line for line in card.splitlines() if line.startswith(f"| {title}")] or [""]
        if row:
            assert ("not significant" in row) == (not one.significant)


def test_both_kinds_occur_in_the_random_reports() -> None:
    kinds = {one.significant for seed in range(24) for one in random_report(("a", "b"), seed).comparisons}
    assert kinds == {True, False}
