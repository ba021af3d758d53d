"""Measures on the built-in test cards, whose content is known exactly."""

import statistics
from importlib.util import find_spec

import torch
from torch import Tensor

from vaekit.comparison.candidates import VAECandidate
from vaekit.metrics.image.banding import banding
from vaekit.metrics.image.color import luma
from vaekit.metrics.image.delta_e import delta_e_map
from vaekit.metrics.image.drift import drift
from vaekit.metrics.image.grid import flat_grid
from vaekit.metrics.image.lab import lab
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.slanted_edge import mtf50
from vaekit.metrics.image.text_contrast import stroke_contrast
from vaekit.pretrained.ocr import character_error_rate, line_reader, read_lines
from vaekit.shapes import Images
from vaekit.testcards.color import flat_colors
from vaekit.testcards.color_checker import color_checker
from vaekit.testcards.dead_leaves import dead_leaves
from vaekit.testcards.ramps import ramp
from vaekit.testcards.slanted import slanted_edges
from vaekit.testcards.text import text_card

SIZE = (256, 384)
SQUARE = (256, 256)
SMALL_TEXT = 16
"""The maximum height of small text in pixels."""
OCR = "rapidocr_onnxruntime"


@torch.no_grad()
def card_measures(candidate: VAECandidate) -> dict[str, float]:
    """The measures of a VAE on the test cards, by the names in the measure table; empty for a fixed image size."""
    if candidate.image_size is not None:
        return {}
    round_trip = RoundTrip(candidate)
    return {
        "grid_flat": grid_on_flat(round_trip),
        "ramp_banding": max(round_trip.banding(ramp(SIZE, vertical=vertical)) for vertical in (False, True)),
        "mtf50": sharpness(round_trip),
        "checker_delta_e": checker_error(round_trip),
        **text(round_trip),
        **repeated(round_trip),
    }


class RoundTrip:
    """A VAE as a function on 8-bit images."""

    def __init__(self, candidate: VAECandidate) -> None:
        self._candidate = candidate
        self.factor = candidate.encoder.geometry.factors[0]

    def __call__(self, pixels: Images) -> Images:
        result = self._candidate.round_trip(pixels)
        return as_saved(torch.where(result.isfinite(), result, torch.zeros_like(result)))

    def banding(self, card: Images) -> float:
        """The share of lost levels of a card."""
        return banding(as_saved(card), self(card)).item()


def grid_on_flat(round_trip: RoundTrip) -> float:
    """The grid with the VAE's factor on flat colors, away from the border, in levels of 255."""
    factor = round_trip.factor
    cut = SQUARE[0] // 4 // factor * factor
    if factor == 1:
        return 0.0
    results = torch.cat([round_trip(card) for card in flat_colors(SQUARE).split(1)])
    return flat_grid(results[:, :, cut:-cut, cut:-cut], factor)


def sharpness(round_trip: RoundTrip) -> float:
    """The ratio of the frequencies of half contrast, after to before: the median over the card's edges."""
    card = slanted_edges(SIZE)
    before, after = luma(as_saved(card.image)), luma(round_trip(card.image))

    def of(plane: Tensor, place: tuple[slice, slice], vertical: bool) -> float:
        part = plane[:, place[0], place[1]]
        return mtf50(part if vertical else part.transpose(1, 2)).item()

    ratios = [of(after, edge.place, edge.vertical) / of(before, edge.place, edge.vertical) for edge in card.edges]
    return statistics.median(sorted(ratios))


def checker_error(round_trip: RoundTrip) -> float:
    """The mean dE2000 of the patches, between the colors of their centers."""
    card = color_checker(SIZE)
    before, after = as_saved(card.image), round_trip(card.image)
    means = [torch.stack([middle(image, patch.place) for patch in card.patches], dim=1) for image in (before, after)]
    first, second = (lab(values.view(1, 3, 1, -1)) for values in means)
    return delta_e_map(first, second).mean().item()


def middle(image: Images, place: tuple[slice, slice]) -> Tensor:
    """The mean color of the inner quarter of a place: (3,)."""
    rows, columns = (
        slice(side.start + (side.stop - side.start) // 4, side.stop - (side.stop - side.start) // 4) for side in place
    )
    return image[0, :, rows, columns].mean(dim=(1, 2))


def text(round_trip: RoundTrip) -> dict[str, float]:
    """The contrast of small text; and the error rate of an OCR network, if one is installed."""
    card = text_card(SIZE)
    before, after = as_saved(card.image), round_trip(card.image)
    small = [line for line in card.lines if line.size <= SMALL_TEXT]
    measures = {
        "text_contrast": stroke_contrast(luma(before), luma(after), [line.place for line in small]).mean().item()
    }
    if find_spec(OCR) is not None:
        lines = card.one_of_each
        read = read_lines(line_reader(), after, [line.place for line in lines])
        measures["ocr_errors"] = 100 * character_error_rate(read, [line.text for line in lines])
    return measures


def repeated(round_trip: RoundTrip) -> dict[str, float]:
    """The loss of eight round trips relative to one."""
    result = drift(round_trip, as_saved(dead_leaves(1, SQUARE, torch.Generator().manual_seed(0))))
    return {"drift_psnr": result.lost.item(), "drift_color": result.color_shift[-1].abs().max().item()}
