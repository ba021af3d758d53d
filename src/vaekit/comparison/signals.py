"""What one reconstruction shows of each defect, told apart.

The measures of `metrics/` see one thing each; here they are applied in an order in which no fault passes for another:

1. pixels that are not finite, and lone pixels that stand out, are set aside;
2. plateaus at the ends of the range are set aside, and the change of tone and color of the whole image is fitted;
3. clipping and lost levels are looked for against what that change predicts;
4. blur is fitted against the same prediction, and what neither explains is searched for grids, bad edges and droplets.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.banding import Banding, levels_lost
from vaekit.metrics.image.borders import worst_edge
from vaekit.metrics.image.clipping import NONE, Plateau, plateau
from vaekit.metrics.image.color_change import ColorChange, apply_color_change, chroma_shift, fit_color_change
from vaekit.metrics.image.droplets import EDGE, count_droplets
from vaekit.metrics.image.fried import fried_mask
from vaekit.metrics.image.grid import PERIODS, find_grid
from vaekit.metrics.image.levels import LOWEST, LevelCurve, Planes, level_curve, to_levels
from vaekit.metrics.image.sharpness import blur_sigma, boost, equivalent_sigma, filtered, transfer
from vaekit.shapes import Images

DEEP = 10
"""Levels that must have become one for a plateau to count as clipping: 5-bit rounding makes 8 of them one."""
KNEE = 0.7
"""Of the levels below a plateau, the part that surely was not bent with it."""
ENOUGH = 0.1
"""The share of pixels that a fit of the whole image needs."""
COLORFUL = 3.0
"""Levels of color (root mean square) below which nothing is said on saturation and hue."""
LEAST_BLUR = 0.3
"""Pixels of blur from which on the original is blurred as well before tones are compared."""
SHRINKS = 1.0
"""% by which turning the hues by a degree may change the chroma that is measured: they are turned in one space (Lab,
HSV) and measured in another."""
TURNS = 0.12
"""Degrees that 1 % of saturation may turn them, for the same reason."""
LIGHTENS = 0.5
"""Levels by which moving colors by one level towards or around gray may change how light grays seem: each space keeps
another lightness."""
COARSE = 0.15
"""The part of a step between levels by which rounding to them may move colors, on average."""
BAD_EDGE, WIDE_EDGE = 4.0, 72
"""An edge that is off by more levels than this is taken to be so many pixels wide, and blobs in it to be part of it."""
HALF_RANGE = 10.0
"""Levels of deviation below which nothing is said on contrast."""


@dataclass(frozen=True)
class Signals:
    """What one reconstruction shows, against its original. NaN: this image cannot tell."""

    nan: float
    """% of values that are not finite; 100 where an image with content came back as one color."""
    fried: float
    """Fried pixels, in parts per million."""
    brightness: float
    """Levels of 255 at mid-gray."""
    contrast: float
    """% that grays lie further apart (negative: closer together)."""
    saturation: float
    """% that colors lie further from gray, beyond what brightness and contrast bring with them."""
    hue: float
    """Degrees by which colors turned, weighted by their squared chroma."""
    cast: float
    """Levels of 255 by which grays became colored."""
    overshoot: float
    """Levels by which a change of brightness passes white or black."""
    clipped: float
    """% of pixels that lie on a plateau at an end of the range and did not before, in the worst channel."""
    pushed: float
    """% of pixels that the change of tone pushed over an end of the range."""
    levels_lost: float
    """% of the levels in use that are in use no more."""
    sigma: float
    """Equivalent blur in pixels; negative: sharper."""
    boost: float
    """% by which fine detail is stronger than coarse."""
    grid: float
    """Amplitude in levels of 255."""
    period: float
    """Pixels from one line of the grid to the next."""
    edge: float
    """Error of the worst corner or side beyond the inside's, in levels of 255."""
    droplets: float
    """Per million pixels."""


NOTHING = dict.fromkeys(Signals.__dataclass_fields__, math.nan)


def signals(original: Images, reconstruction: Images) -> Signals:
    """What one image (1, 3, h, w) in [-1, 1] shows; both of the same size, 16 pixels a side or more.

    Raises:
        ValueError: another shape.
    """
    shape = tuple(original.shape)
    if shape != tuple(reconstruction.shape) or shape[:2] != (1, 3) or min(shape[2:]) < 16:
        raise ValueError(
            f"two images (1, 3, h, w) of 16 pixels a side or more, not {shape} and {tuple(reconstruction.shape)}"
        )
    finite = reconstruction.isfinite()
    broken = 100 * (1 - finite.float().mean().item())
    x = to_levels(original[0]).clamp(0, 255).round()
    y = to_levels(torch.where(finite, reconstruction, original)[0]).clamp(0, 255).round()
    if _blank(y) and not _blank(x):
        return Signals(**{**NOTHING, "nan": 100.0})
    return _of_planes(x, y, finite[0].all(dim=0), broken)


def _blank(planes: Planes) -> bool:
    return bool((planes.amax(dim=(1, 2)) - planes.amin(dim=(1, 2))).max() < 2)


def _of_planes(x: Planes, y: Planes, sound: Tensor, broken: float) -> Signals:
    curves = [level_curve(a, b) for a, b in zip(x, y, strict=True)]
    fried = fried_mask(x.to(torch.uint8), y.to(torch.uint8), curves)
    sound = sound & ~fried
    change = fit_color_change(_as_blurred(x, y), y, _unbent(x, y, sound, curves))
    expected = apply_color_change(change, x)
    expected_curves = [level_curve(a, b) for a, b in zip(expected, y, strict=True)]
    bands = levels_lost(expected, y, sound)
    clips = [_clip(curve, bands, high) for curve in expected_curves for high in (False, True)]
    clipped = max(clips)
    color = _color(change, bands, x.mean(dim=(1, 2)))
    tone = _tone(change, bands, x.mean().item())
    slope = change.slope
    if clipped > 0:
        expected = torch.stack([_through(curve, plane) for curve, plane in zip(expected_curves, expected, strict=True)])
        sound = sound & _off_plateaus(y, expected_curves)
    expected = expected.clamp(0, 255)
    local = _local(expected, torch.where(sound, y, expected))
    return Signals(
        nan=broken,
        fried=1e6 * fried.float().mean().item(),
        brightness=tone[0],
        contrast=tone[1],
        saturation=color[0],
        hue=color[1],
        cast=color[2],
        overshoot=max(change.offset + 255 * (slope - 1), -change.offset, 0.0) if tone[1] == 0 or tone[0] != 0 else 0.0,
        clipped=clipped,
        pushed=_pushed(expected_curves),
        levels_lost=bands.lost,
        **local,
    )


def _unbent(x: Planes, y: Planes, sound: Tensor, curves: list[LevelCurve]) -> Tensor:
    """The pixels (h, w), bool, to which a change of the whole image may be fitted: those that no end has stopped."""
    free = sound & (x > 2).all(dim=0) & (x < 253).all(dim=0) & (y > 2).all(dim=0) & (y < 253).all(dim=0)
    straight = free
    for channel, curve in enumerate(curves):
        low, high = plateau(curve, False), plateau(curve, True)
        if high.depth >= DEEP:
            free = free & (y[channel] < high.level - 1)
            straight = straight & free & (x[channel] < KNEE * high.start)
        if low.depth >= DEEP:
            free = free & (y[channel] > low.level + 1)
            straight = straight & free & (255 - x[channel] < KNEE * (255 - low.start))
    for mask in (_inner(straight), straight, free):
        if mask.float().mean() >= ENOUGH:
            return mask
    return free if free.any() else sound


def _inner(mask: Tensor) -> Tensor:
    """The pixels of a mask that are further than 3 from all others: a blur carries light that far."""
    return F.max_pool2d((~mask)[None, None].half(), 7, stride=1, padding=3)[0, 0] == 0


def _clip(curve: LevelCurve, bands: Banding, highlights: bool) -> float:
    """% of pixels on a plateau that neither the change of tone nor lost levels account for."""
    found: Plateau = plateau(curve, highlights)
    return found.share if found.depth >= max(DEEP, 1.5 * bands.step) else NONE.share


def _pushed(curves: list[LevelCurve]) -> float:
    """% of pixels whose prediction is over an end, in the worst channel."""
    shares = []
    for curve in curves:
        total = int(curve.count.sum())
        over, under = int(curve.count[258 - LOWEST :].sum()), int(curve.count[: -2 - LOWEST].sum())
        shares += [100 * over / total, 100 * under / total]
    return max(shares)


def _through(curve: LevelCurve, plane: Tensor) -> Tensor:
    """A predicted plane as the median of its levels came out, where there are enough pixels to say so."""
    levels = torch.arange(len(curve.count)) + LOWEST
    table = torch.where((curve.count > 20) & (curve.agreed > 0.5), curve.median, levels.float())
    return table[(plane.round().long() - LOWEST).clamp(0, len(table) - 1)]


def _off_plateaus(y: Planes, curves: list[LevelCurve]) -> Tensor:
    """The pixels (h, w), bool, that lie on no plateau in any channel."""
    free = torch.ones_like(y[0], dtype=torch.bool)
    for plane, curve in zip(y, curves, strict=True):
        for highlights in (False, True):
            found = plateau(curve, highlights)
            if found.depth >= DEEP:
                free &= (plane - found.level).abs() > 1
    return free


def _as_blurred(x: Planes, y: Planes) -> Planes:
    """The original as blurred as the reconstruction: else light that a blur carries about reads as a change of tone."""
    if min(x.shape[1:]) < 32:
        return x
    sigma = blur_sigma((x / 127.5 - 1).unsqueeze(0), (y / 127.5 - 1).unsqueeze(0)).item()
    if not sigma > LEAST_BLUR:
        return x
    sigma = min(sigma, 4.0)
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    padded = F.pad(x.unsqueeze(1), (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))[:, 0]


def _tone(change: ColorChange, bands: Banding, average: float) -> tuple[float, float]:
    """Brightness in levels at mid-gray, and contrast in %: whichever alone explains the tone curve, or else both.

    Over the image's levels g, the change is (c1 - 1) g + c0. A gain (k g) or an offset is brightness; a line through
    a point between the image's mean (`average`, of all pixels) and mid-gray is contrast. What is left unexplained is
    a root mean square in levels.
    """
    rise, offset, mean, spread = change.slope - 1, change.offset, change.mean, change.deviation
    at_mean = rise * mean + offset
    slack = _rounding(bands) + LIGHTENS * _moved(change)
    if spread < HALF_RANGE:
        return _beyond(at_mean, slack), math.nan
    square = mean**2 + spread**2
    gain = (rise * square + offset * mean) / square
    left_by_gain = math.sqrt(max(0.0, at_mean**2 + (rise * spread) ** 2 - gain**2 * square))
    left_by_offset = abs(rise) * spread
    pivots = sorted((average, 127.5))
    pivot = min(max(-offset / rise, pivots[0] - 8), pivots[1] + 8) if abs(rise) > 1e-4 else mean
    left_by_contrast = abs(offset + rise * pivot)
    left = min(left_by_gain, left_by_offset, left_by_contrast)
    if left > BOTH:
        return _beyond(at_mean, slack), 100 * rise
    if left == left_by_contrast:
        return 0.0, 100 * rise
    if left == left_by_gain:
        return _beyond(gain * mean, slack) * 127.5 / mean, 0.0
    return _beyond(at_mean, slack), 0.0


BOTH = 1.5
"""Levels that the better of brightness and contrast may leave unexplained before both are named."""


def _rounding(bands: Banding) -> float:
    """Levels by which rounding to the levels in use may move a mean: half a step. None where all are in use."""
    return bands.step / 2 if bands.step > 2 else 0.0


def _beyond(value: float, slack: float) -> float:
    """What of a value is beyond the slack."""
    return math.copysign(max(0.0, abs(value) - slack), value)


def _saturation(scale: float, slope: float) -> float:
    """% by which chroma left the interval between "kept" and "changed as much as the contrast did"."""
    low, high = min(1.0, slope), max(1.0, slope)
    if scale < low:
        return 100 * (scale / low - 1)
    return 100 * (scale / high - 1) if scale > high else 0.0


def _color(change: ColorChange, bands: Banding, average: Tensor) -> tuple[float, float, float]:
    """Saturation in %, hue in degrees and cast in levels, each beyond what the others and coarse levels bring along."""
    cast = _beyond(_cast(change, average), _rounding(bands) + LIGHTENS * _moved(change))
    if change.colorfulness < COLORFUL:
        return math.nan, math.nan, cast
    coarse = COARSE * _rounding(bands) * 2 / change.colorfulness
    saturation = _saturation(change.scale, change.slope)
    return (
        _beyond(saturation, abs(change.turn) * SHRINKS + 100 * coarse),
        _beyond(change.turn, abs(saturation) * TURNS + math.degrees(coarse)),
        cast,
    )


def _moved(change: ColorChange) -> float:
    """Levels by which colors moved towards, away from or around gray (root mean square), contrast apart."""
    saturation = abs(_saturation(change.scale, change.slope)) / 100
    return change.colorfulness * math.hypot(saturation, math.radians(change.turn))


def _cast(change: ColorChange, average: Tensor) -> float:
    """The largest difference between the channels of what a mean gray became, or the average color: the smaller.

    Contrast about the mean of each channel tints grays and leaves the average alone; desaturation moves the average and
    leaves grays alone. A cast does both.
    """
    spreads = []
    for u, v in (change.cast.tolist(), chroma_shift(change, average)):
        red, green, blue = u / 2**0.5 + v / 6**0.5, -u / 2**0.5 + v / 6**0.5, -2 * v / 6**0.5
        spreads.append(max(red, green, blue) - min(red, green, blue))
    return min(spreads)


def _local(expected: Planes, y: Planes) -> dict[str, float]:
    """Blur, and what it leaves unexplained, on the mean of the channels."""
    height, width = (
        side // PERIODS[-1] * PERIODS[-1] if side >= 4 * PERIODS[-1] else side // 8 * 8 for side in y.shape[1:]
    )
    first, second = (planes.mean(dim=0)[:height, :width] for planes in (expected, y))
    center = first.mean()
    before, after = torch.fft.rfft2(first - center), torch.fft.rfft2(second - center)
    gains = transfer(before, after, (height, width))
    sigma = equivalent_sigma(gains)
    spectrum = after - filtered(gains, before, (height, width))
    pattern = find_grid(spectrum, (height, width))
    residual = torch.fft.irfft2(spectrum, s=(height, width))
    skipped = 4 if abs(sigma) > 0.12 else 0  # how a filter went over the edge is no fault of the edge
    edge = worst_edge(residual, skipped)
    margin = WIDE_EDGE if edge > BAD_EDGE else EDGE
    return {
        "sigma": sigma,
        "boost": boost(gains),
        "grid": pattern.amplitude,
        "period": float(pattern.period),
        "edge": edge,
        "droplets": 1e6 * count_droplets(residual, first, margin) / (height * width),
    }
