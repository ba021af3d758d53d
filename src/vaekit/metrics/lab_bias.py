"""Bias of colour as a person sees it: lighter or darker, more or less colourful, turned in hue."""

from dataclasses import dataclass

import torch

from vaekit.shapes import Images, PerItem

LEAST_CHROMA = 1.0
"""Mean chroma below which a picture is grey, and has neither colourfulness nor hue to keep."""


@dataclass(frozen=True, eq=False)
class LabBias:
    """Signed changes from original to reconstruction; 0 is none."""

    lightness: PerItem
    """Of the mean L*, in units of L* (0 to 100)."""
    chroma: PerItem
    """Of the mean chroma C*, in % of the original's; NaN for a grey picture."""
    hue: PerItem
    """Degrees by which colours turned, counterclockwise in the plane of a* and b*; NaN for a grey picture."""


def lab_bias(first: Images, second: Images) -> LabBias:
    """How the L*a*b* values `second` (b, 3, h, w) of reconstructions are biased against those of originals, `first`.

        lightness = mean(L2 - L1),  chroma = 100 (mean C2 / mean C1 - 1),  hue = arg sum (a2 + i b2) conj(a1 + i b1)

    The angle is the mean turn, each pixel weighted by both its chromas, so that greys, whose hue is noise, count for
    nothing (CIE 15, section 8.2, for L*, C* and hue).

    >>> red = torch.tensor([50.0, 60.0, 0.0]).view(1, 3, 1, 1)
    >>> found = lab_bias(red, torch.tensor([52.0, 0.0, 30.0]).view(1, 3, 1, 1))
    >>> found.lightness, found.chroma, found.hue
    (tensor([2.]), tensor([-50.]), tensor([90.]))
    """
    (l1, a1, b1), (l2, a2, b2) = (values.unbind(dim=1) for values in (first, second))
    before, after = (torch.hypot(a, b).mean(dim=(1, 2)) for a, b in ((a1, b1), (a2, b2)))
    along, across = (a1 * a2 + b1 * b2).sum(dim=(1, 2)), (a1 * b2 - b1 * a2).sum(dim=(1, 2))
    grey = before < LEAST_CHROMA
    return LabBias(
        (l2 - l1).mean(dim=(1, 2)),
        (100 * (after / before - 1)).masked_fill(grey, torch.nan),
        torch.atan2(across, along).rad2deg().masked_fill(grey, torch.nan),
    )
