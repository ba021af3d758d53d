"""Heat maps: where an image is improbable, in colors over the dimmed image, with a scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.write import INK, PAPER, font_of_size, side_by_side, to_bytes
from vaekit.metrics.image.color import luma

INFERNO = ("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4")
"""Ten equidistant colors of Inferno (van der Walt & Smith 2015), a scale whose lightness increases evenly, also in gray
and for the color-blind."""
DIMMED = 0.6
"""The brightness of the image where it is probable."""
OPAQUE = 0.85
"""The opacity of the colors at the upper end of the scale; it increases from 0 at the lower end."""
SOON = 0.25
"""How slowly colors become opaque: at this position on the scale, to five eighths."""
DECADE = 9.0
"""The upper end of a scale in its units, at least: the logarithm of 1 + 9 is one decade."""
WIDE = 320
"""The side of a heat map in pixels; smaller images are enlarged."""
ORIGINAL, EXPECTED = "original", "expected"
ABOVE_NORMAL, ABSOLUTE = "nats above normal", "-log p in nats"
"""Captions."""


def colors_of(heat: Float[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """Colors in [0, 1] for positions on the scale in [0, 1]; others are clamped."""
    anchors = torch.tensor([[int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)] for color in INFERNO])
    place = heat.clamp(0, 1) * (len(anchors) - 1)
    low = place.floor().long().clamp(max=len(anchors) - 2)
    share = (place - low).unsqueeze(-1)
    return (anchors[low] * (1 - share) + anchors[low + 1] * share).permute(2, 0, 1)


def heat_over(image: Float[Tensor, "1 3 h w"], heat: Float[Tensor, "h w"]) -> Float[Tensor, "1 3 h w"]:
    """A map on a scale of 0 to 1 over an image in [-1, 1] of the same size, both as they are seen."""
    gray = ((luma(image.clamp(-1, 1)) + 1) / 2 * DIMMED).expand(3, -1, -1)
    share = heat.clamp(0, 1)
    opacity = OPAQUE * share / (share + SOON) * (1 + SOON)
    return ((1 - opacity) * gray + opacity * colors_of(share)).mul(2).sub(1).unsqueeze(0)


@dataclass(frozen=True)
class HeatScale:
    """A logarithmic scale from 0: values up to `unit` are dark, and ten times as high ones differ visibly."""

    unit: float
    """What few places of normal images reach."""
    top: float
    """The value at the upper end."""

    @classmethod
    def of(cls, heat: Float[Tensor, "y x"], unit: float | None) -> "HeatScale":
        """The scale of a map. If it is not known what is normal, its maximum is the upper end."""
        highest = max(float(heat.max()), 1e-6)
        if unit is None or unit <= 0:
            return cls(highest / DECADE, highest)
        return cls(unit, max(DECADE * unit, highest))

    def places(self, heat: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
        """Positions on the scale, from 0 to 1; values below 0 are at 0."""
        return (heat.clamp(min=0) / self.unit).log1p() / math.log1p(self.top / self.unit)


def heat_sheet(
    original: Float[Tensor, "1 3 h w"],
    expected: Float[Tensor, "1 3 h w"],
    heat: Float[Tensor, "y x"],
    unit: float | None,
) -> Float[Tensor, "1 3 rows columns"]:
    """An image, its reconstruction, and a map over the image, side by side above the scale of the map.

    Args:
        original: the image.
        expected: its reconstruction, of the same size.
        heat: the map, of any size, covering the whole image; values of 0 and below have no color.
        unit: what few places of normal images reach; None if that is not known.
    """
    size = enlarged_size(*original.shape[2:])
    panels = [resized(each, size) for each in (original, expected)]
    scale = HeatScale.of(heat, unit)
    places = scale.places(resized(heat[None, None], size)[0, 0])
    captions = (ORIGINAL, EXPECTED, ABSOLUTE if unit is None else ABOVE_NORMAL)
    sheet = side_by_side([*panels, heat_over(panels[0], places)], captions)
    return torch.cat([sheet, scale_bar(sheet.shape[3], scale, unit is not None)], dim=2)


def enlarged_size(height: int, width: int) -> tuple[int, int]:
    """The size of a panel: that of the image, or a multiple of it for small ones."""
    times = max(1, -(-WIDE // max(height, width)))
    return height * times, width * times


def resized(values: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b c y x"]:
    """Maps or images in another size, bilinear."""
    return values if values.shape[2:] == tuple(size) else F.interpolate(values, tuple(size), mode="bilinear")


def scale_bar(width: int, scale: HeatScale, is_normal_known: bool) -> Float[Tensor, "1 3 rows columns"]:
    """The colors of a scale over a gray of middle brightness, with labels."""
    text = max(11, min(15, width // 40))
    bar, margin = text, text
    inner = max(1, width - 2 * margin)
    colors = to_bytes(heat_over(torch.zeros(1, 3, bar, inner), torch.linspace(0, 1, inner).expand(bar, -1)))
    strip = Image.new("RGB", (width, bar + 2 * text), PAPER)
    strip.paste(Image.fromarray(colors), (margin, 0))
    draw, font = ImageDraw.Draw(strip), font_of_size(text)
    middle = f"{scale.unit:.3g}{' (few normal places)' if is_normal_known else ''}"
    labels = {0.0: ("0", "la"), scale.unit: (middle, "ma"), scale.top: (f"{scale.top:.3g} nats per pixel", "ra")}
    for value, (label, anchor) in labels.items():
        place = margin + round(inner * float(scale.places(torch.tensor([[value]]))))
        draw.line((place, bar, place, bar + text // 4), fill=INK)
        draw.text((place, bar + text // 4), label, fill=INK, font=font, anchor=anchor)
    return from_bytes(strip)
