"""Heat maps: where an image is improbable, in colors over the dimmed image, with a scale."""

from collections.abc import Sequence

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
WIDE = 320
"""The side of a heat map in pixels; smaller images are enlarged."""
CAPTIONS = ("original", "expected", "nats above normal")


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


def heat_sheet(
    original: Float[Tensor, "1 3 h w"],
    expected: Float[Tensor, "1 3 h w"],
    heat: Float[Tensor, "y x"],
    top: float,
) -> Float[Tensor, "1 3 rows columns"]:
    """An image, its reconstruction, and a map over the image, side by side above the scale of the map.

    Args:
        original: the image.
        expected: its reconstruction, of the same size.
        heat: the map, of any size, covering the whole image; values of 0 and below have no color.
        top: the value at the upper end of the scale; higher ones have the same color.
    """
    size = enlarged_size(*original.shape[2:])
    panels = [resized(each, size) for each in (original, expected)]
    scale = resized(heat[None, None], size)[0, 0] / max(top, 1e-9)
    sheet = side_by_side([*panels, heat_over(panels[0], scale)], CAPTIONS)
    beyond = bool(heat.max() > top)
    return torch.cat([sheet, scale_bar(sheet.shape[3], top, beyond)], dim=2)


def enlarged_size(height: int, width: int) -> tuple[int, int]:
    """The size of a panel: that of the image, or a multiple of it for small ones."""
    times = max(1, -(-WIDE // max(height, width)))
    return height * times, width * times


def resized(values: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b c y x"]:
    """Maps or images in another size, bilinear."""
    return values if values.shape[2:] == tuple(size) else F.interpolate(values, tuple(size), mode="bilinear")


def scale_bar(width: int, top: float, beyond: bool) -> Float[Tensor, "1 3 rows columns"]:
    """The colors of a map from 0 to `top` over a gray of middle brightness, with labels."""
    text = max(11, min(15, width // 40))
    bar, margin = text, text
    inner = max(1, width - 2 * margin)
    gray = torch.zeros(1, 3, bar, inner)
    colors = to_bytes(heat_over(gray, torch.linspace(0, 1, inner).expand(bar, -1)))
    strip = Image.new("RGB", (width, bar + 2 * text), PAPER)
    strip.paste(Image.fromarray(colors), (margin, 0))
    draw, font = ImageDraw.Draw(strip), font_of_size(text)
    labels = ("0", f"{top / 2:.3g}", f"{top:.3g}{' and more' if beyond else ''} nats per pixel")
    for place, label, anchor in zip((0, inner // 2, inner), labels, ("la", "ma", "ra"), strict=True):
        draw.text((margin + place, bar + text // 4), label, fill=INK, font=font, anchor=anchor)
    return from_bytes(strip)
