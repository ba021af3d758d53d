"""Candidates over many images: what is left out, what NaN does, what is shown, and what stays in memory."""

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vaekit.comparison.candidates import Reconstruction, convert_latents
from vaekit.comparison.compare import ImageSource, compare
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import BadItem
from vaekit.evaluation.measures import result_of
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean, mean_interval
from vaekit.normalization import LatentNormalization
from vaekit.testcards.dead_leaves import dead_leaves


@dataclass
class Adds:
    """Makes images lighter by as much."""

    name: str
    amount: float
    broken: str = ""
    on_cpu: bool = False

    def reconstruct(self, name: str, image: LoadedImage) -> Reconstruction:
        if name == self.broken:
            raise BadItem("It cannot.", "", "")
        return Reconstruction(image.pixels + self.amount, {"encode_seconds": 1.0})

    def about(self) -> Mapping[str, Any]:
        return {}

    def overall(self) -> Mapping[str, float]:
        return {"peak_memory": 5.0}


def source(number: int, size: tuple[int, int] = (64, 80)) -> ImageSource:
    pixels = as_saved(dead_leaves(1, size, torch.Generator().manual_seed(number)) * 0.8)
    return ImageSource(f"{number}.png", lambda: LoadedImage(pixels))


def test_intervals_are_those_of_evaluate() -> None:
    """The same mean over the same images has the same interval in both commands."""
    found = compare([source(i) for i in range(5)], [Adds("a", 0.1), Adds("b", 0.02)], {}, {})
    for judged in found.report.candidates:
        mean = RunningMean()
        for image in judged.images:
            mean.add(image.measures["psnr"])
        evaluated = result_of(Measure("psnr", "PSNR", "dB", "higher", ""), mean)
        estimate = judged.measures["psnr"]
        assert (estimate.value, estimate.low, estimate.high) == (evaluated.value, evaluated.low, evaluated.high)
    first, second = ([each.measures["psnr"] for each in judged.images] for judged in found.report.candidates)
    pairs = next(each for each in found.report.comparisons if each.measure == "psnr")
    sign = 1 if pairs.first == found.report.candidates[0].name else -1
    expected = mean_interval([sign * (a - b) for a, b in zip(first, second, strict=True)])
    assert (pairs.low, pairs.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("on_cpu", [False, True])
def test_the_less_it_changes_the_better_it_ranks(on_cpu: bool) -> None:
    tried = [Adds("much", 0.2, on_cpu=on_cpu), Adds("little", 0.02)]
    found = compare([source(i) for i in range(4)], tried, {}, {"seed": 0})
    first, second = found.report.candidates
    assert (first.name, second.name) == ("little", "much")
    assert second.measures["brightness"].value == pytest.approx(0.2 * 127.5, abs=0.6)
    assert "brightness_shift" in [one.name for one in second.defects]
    assert first.measures["peak_memory"].value == 5.0
    assert "PSNR" in first.reason
    assert found.report.protocol == {"seed": 0, "images": 4, "skipped": 0}


def test_what_one_cannot_make_is_left_out_for_all() -> None:
    tried = [source(0), source(1), source(2, (20, 40))]
    found = compare(tried, [Adds("a", 0.1), Adds("b", 0.1, broken="1.png")], {}, {})
    assert [one.name for one in found.report.candidates[0].images] == ["0.png"]
    reasons = {one.name: one.reason for one in found.report.skipped}
    assert "It cannot." in reasons["1.png"]
    assert "40x20" in reasons["2.png"]


def test_other_errors_are_not_hidden() -> None:
    def fails() -> LoadedImage:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compare([ImageSource("x", fails)], [Adds("a", 0.1)], {}, {})


def test_nan_is_a_defect_and_no_crash() -> None:
    found = compare([source(0), source(1)], [Adds("fine", 0.01), Adds("broken", float("nan"))], {}, {})
    fine, broken = found.report.candidates
    assert (fine.name, broken.name) == ("fine", "broken")
    assert "nan" in [one.name for one in broken.defects]
    assert broken.measures["not_finite"].value == 100
    assert all(each.reconstructions["fine"].isfinite().all() for each in found.shown)


def test_shown_are_the_worst_and_they_say_why() -> None:
    found = compare([source(i) for i in range(5)], [Adds("a", 0.1), Adds("b", 0.05)], {}, {}, show=3)
    shown = list(found.shown)
    assert len(shown) == 3
    worst = max(found.report.candidates[0].images, key=lambda one: one.measures["delta_e"])
    assert shown[0].name == worst.name
    assert shown[0].why.startswith("worst dE2000")
    assert torch.equal(shown[0].original, as_saved(shown[0].original))


def test_a_image_that_is_gone_by_then_is_not_shown_and_the_numbers_stay() -> None:
    there = source(0)
    reads: list[int] = []

    def read_once() -> LoadedImage:
        reads.append(1)
        if len(reads) > 1:
            raise BadItem("It is gone.", "", "")
        return there.read()

    found = compare([ImageSource("gone.png", read_once), source(1)], [Adds("a", 0.1)], {}, {})
    assert {one.name for one in found.report.candidates[0].images} == {"gone.png", "1.png"}
    assert [one.name for one in found.shown] == ["1.png"]


@pytest.mark.nightly
def test_no_pixels_are_kept() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def read(number: int) -> LoadedImage:
        gc.collect()
        assert sum(each() is not None for each in alive) <= 6, "images pile up"
        pixels = as_saved(dead_leaves(1, (256, 256), torch.Generator().manual_seed(number)))
        alive.append(weakref.ref(pixels))
        return LoadedImage(pixels)

    sources = [ImageSource(str(i), lambda i=i: read(i)) for i in range(12)]  # type: ignore[misc]
    compare(sources, [Adds("a", 0.1)], {}, {}, show=0)
    assert len(alive) == 12


def test_latents_are_carried_from_normalization_to_normalization() -> None:
    raw = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    mine, theirs = LatentNormalization(scale=(0.18215,)), LatentNormalization()
    torch.testing.assert_close(convert_latents(raw, mine, theirs), raw * 0.18215)
    assert torch.equal(convert_latents(raw, None, theirs), raw)
