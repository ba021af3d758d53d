"""Signals of the defects of one reconstruction, separated from each other.

Each metric measures one property; here they are applied in an order in which no defect is mistaken for another:

1. non-finite and isolated outlier pixels are excluded;
2. plateaus at the ends of the range are excluded, and the global change of tone and color is fitted;
3. clipping and lost levels are measured relative to the prediction of that change;
4. blur is fitted relative to the same prediction, and the residual is searched for grids, border errors and droplets.
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
from vaekit.metrics.image.levels import LOWEST, LevelCurve, Planes, level_curve, noise_of, to_levels
from vaekit.metrics.image.sharpness import blur_sigma, boost, equivalent_sigma, filtered, transfer
from vaekit.shapes import Images

DEEP = 10
"""The number of merged levels from which a plateau is clipping: 5-bit rounding merges 8."""
KNEE = 0.7
"""The fraction of the levels below a plateau that is certainly unaffected by it."""
ENOUGH = 0.1
"""The share of pixels that a global fit needs."""
COLORFUL = 3.0
"""Colorfulness (root mean square, in levels) below which saturation and hue are not measured."""
LEAST_BLUR = 0.3
"""The blur in pixels from which the original is blurred, too, before tones are compared."""
SHRINKS = 1.0
"""Tolerated change of the measured saturation in % per degree of hue rotation: rotations are made in one color space
(Lab, HSV) and measured in another."""
TURNS = 0.12
"""Tolerated hue rotation in degrees per 1 % of saturation, for the same reason."""
LIGHTENS = 0.5
"""Tolerated change of the brightness of grays per level of color change: color spaces preserve different
lightnesses."""
COARSE = 0.15
"""The mean change of colors and contrast by rounding to coarse levels, relative to their step."""
BAD_EDGE, WIDE_EDGE = 4.0, 72
"""A border with an error above this (in levels) is assumed to be this wide (in pixels); blobs inside are ignored."""
HALF_RANGE = 10.0
"""The standard deviation in levels below which contrast is not measured."""


@dataclass(frozen=True)
class Signals:
    """The signals of one reconstruction, relative to its original; NaN if they cannot be measured on this image."""

    nan: float
    """Non-finite values in %; 100 if an image with content became a single color."""
    fried: float
    """Fried pixels, in parts per million."""
    brightness: float
    """The change at mid-gray, in levels of 255."""
    contrast: float
    """The increase of the contrast of grays, in %."""
    saturation: float
    """The increase of saturation in %, beyond the effect of brightness and contrast."""
    hue: float
    """The hue rotation in degrees, weighted by squared chroma."""
    cast: float
    """The color cast of grays, in levels of 255."""
    overshoot: float
    """The amount by which a brightness change exceeds the range, in levels."""
    clipped: float
    """Newly clipped pixels in %, in the worst channel."""
    pushed: float
    """Pixels that the change of tone moved out of the range, in %."""
    levels_lost: float
    """Lost levels, in % of the levels in use."""
    sigma: float
    """The equivalent Gaussian blur in pixels; negative if sharper."""
    boost: float
    """The gain of fine detail relative to coarse detail, in %."""
    grid: float
    """The amplitude of a grid, in levels of 255."""
    period: float
    """The period of the grid in pixels."""
    edge: float
    """The excess error of the worst corner or side over the inside, in levels of 255."""
    droplets: float
    """Droplets per million pixels."""


NOTHING = dict.fromkeys(Signals.__dataclass_fields__, math.nan)


def signals(original: Images, reconstruction: Images) -> Signals:
    """The signals of one image (1, 3, h, w) in [-1, 1]; both have the same size, at least 16 pixels on each side.

    Raises:
        ValueError: they have another shape.
    """
    shape = tuple(original.shape)
    if shape != tuple(reconstruction.shape) or shape[:2] != (1, 3) or min(shape[2:]) < 16:
        raise ValueError(
            f"expected two images (1, 3, h, w) of at least 16x16 pixels, not {shape} and {tuple(reconstruction.shape)}"
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


def _of_planes(x: Planes, y: Planes, usable: Tensor, broken: float) -> Signals:
    curves = _level_curves(x, y)
    fried = fried_mask(x.to(torch.uint8), y.to(torch.uint8), curves)
    usable = usable & ~fried
    blurred = _as_blurred(x, y)
    change = fit_color_change(blurred, y, _unclipped(x, y, usable, curves))
    expected = apply_color_change(change, x)
    expected_curves = _level_curves(expected, y)
    # Fine texture of an almost gray image follows the rounding of its luma. Where a blur removes it, the means of
    # levels look like a staircase, unless the original is blurred as well.
    bands = levels_lost(apply_color_change(change, blurred), y, usable)
    clips = [_clip(curve, bands, high) for curve in expected_curves for high in (False, True)]
    clipped = max(clips)
    color = _color(change, bands, x.mean(dim=(1, 2)))
    tone = _tone(change, bands, x.mean().item())
    slope = change.slope
    if clipped > 0:
        expected = torch.stack([_through(curve, plane) for curve, plane in zip(expected_curves, expected, strict=True)])
        usable = usable & _off_plateaus(y, expected_curves)
    expected = expected.clamp(0, 255)
    local = _local(expected, torch.where(usable, y, expected))
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


def _level_curves(x: Planes, y: Planes) -> list[LevelCurve]:
    return [level_curve(a, b, noise_of(a, b)) for a, b in zip(x, y, strict=True)]


def _unclipped(x: Planes, y: Planes, usable: Tensor, curves: list[LevelCurve]) -> Tensor:
    """The mask (h, w) of pixels for the fit of a global change: those that are not clipped."""
    free = usable & (x > 2).all(dim=0) & (x < 253).all(dim=0) & (y > 2).all(dim=0) & (y < 253).all(dim=0)
    straight = free
    for channel, curve in enumerate(curves):
        low, high = plateau(curve, False), plateau(curve, True)
        if high.depth >= DEEP:
            free = free & (y[channel] < high.level - 1 - 2 * curve.noise)
            straight = straight & free & (x[channel] < KNEE * high.start)
        if low.depth >= DEEP:
            free = free & (y[channel] > low.level + 1 + 2 * curve.noise)
            straight = straight & free & (255 - x[channel] < KNEE * (255 - low.start))
    for mask in (_inner(straight), straight, free):
        if mask.float().mean() >= ENOUGH:
            return mask
    return free if free.any() else usable


def _inner(mask: Tensor) -> Tensor:
    """Erode a mask by 3 pixels, the reach of a blur."""
    return F.max_pool2d((~mask)[None, None].half(), 7, stride=1, padding=3)[0, 0] == 0


def _clip(curve: LevelCurve, bands: Banding, highlights: bool) -> float:
    """Pixels in % on a plateau that neither the change of tone nor lost levels explain."""
    end: Plateau = plateau(curve, highlights)
    return end.share if end.depth >= max(DEEP, 1.5 * bands.step) else NONE.share


def _pushed(curves: list[LevelCurve]) -> float:
    """Pixels in % whose prediction is out of the range, in the worst channel."""
    shares = []
    for curve in curves:
        total = int(curve.count.sum())
        over, under = int(curve.count[258 - LOWEST :].sum()), int(curve.count[: -2 - LOWEST].sum())
        shares += [100 * over / total, 100 * under / total]
    return max(shares)


def _through(curve: LevelCurve, plane: Tensor) -> Tensor:
    """A predicted plane, with each level replaced by its median in the reconstruction if enough pixels agree."""
    levels = torch.arange(len(curve.count)) + LOWEST
    table = torch.where((curve.count > 20) & (curve.agreed > 0.5), curve.median, levels.float())
    return table[(plane.round().long() - LOWEST).clamp(0, len(table) - 1)]


def _off_plateaus(y: Planes, curves: list[LevelCurve]) -> Tensor:
    """The mask (h, w) of pixels that are on no plateau in any channel."""
    free = torch.ones_like(y[0], dtype=torch.bool)
    for plane, curve in zip(y, curves, strict=True):
        for highlights in (False, True):
            end = plateau(curve, highlights)
            if end.depth >= DEEP:
                free &= (plane - end.level).abs() > 1 + 3 * curve.noise
    return free


def _as_blurred(x: Planes, y: Planes) -> Planes:
    """Blur the original like the reconstruction: otherwise a blur would be measured as a change of tone."""
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
    """Brightness in levels at mid-gray, and contrast in %: the one that explains the tone curve alone, otherwise both.

    For levels g of the image, the change is (c1 - 1) g + c0. A gain (k g) or an offset is brightness; a line through a
    point between the image's mean (`average`, of all pixels) and mid-gray is contrast. Residuals are root mean squares
    in levels.
    """
    rise, offset, mean, spread = change.slope - 1, change.offset, change.mean, change.std
    at_mean = rise * mean + offset
    slack = _rounding(bands) + LIGHTENS * _moved(change)
    if spread < HALF_RANGE:
        return _beyond(at_mean, slack), math.nan
    contrast = 100 * _beyond(rise, COARSE * 2 * _rounding(bands) / spread)
    square = mean**2 + spread**2
    gain = (rise * square + offset * mean) / square
    left_by_gain = math.sqrt(max(0.0, at_mean**2 + (rise * spread) ** 2 - gain**2 * square))
    left_by_offset = abs(rise) * spread
    pivots = sorted((average, 127.5))
    pivot = min(max(-offset / rise, pivots[0] - 8), pivots[1] + 8) if abs(rise) > 1e-4 else mean
    left_by_contrast = abs(offset + rise * pivot)
    left = min(left_by_gain, left_by_offset, left_by_contrast)
    if left > BOTH:
        return _beyond(at_mean, slack), contrast
    if left == left_by_contrast:
        return 0.0, contrast
    if left == left_by_gain:
        return _beyond(gain * mean, slack) * 127.5 / mean, 0.0
    return _beyond(at_mean, slack), 0.0


BOTH = 1.5
"""The residual in levels of the better of brightness and contrast from which both are reported."""


def _rounding(bands: Banding) -> float:
    """The change of a mean by rounding to the levels in use: half a step; 0 if all levels are in use."""
    return bands.step / 2 if bands.step > 2 else 0.0


def _beyond(value: float, slack: float) -> float:
    """The part of a value that exceeds the slack."""
    return math.copysign(max(0.0, abs(value) - slack), value)


def _saturation(scale: float, slope: float) -> float:
    """The distance of chroma in % from the interval between unchanged and scaled like the contrast."""
    low, high = min(1.0, slope), max(1.0, slope)
    if scale < low:
        return 100 * (scale / low - 1)
    return 100 * (scale / high - 1) if scale > high else 0.0


def _color(change: ColorChange, bands: Banding, average: Tensor) -> tuple[float, float, float]:
    """Saturation in %, hue in degrees and cast in levels, each beyond the effects of the others and of coarse
    levels."""
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
    """The change of colors in levels (root mean square), without contrast."""
    saturation = abs(_saturation(change.scale, change.slope)) / 100
    return change.colorfulness * math.hypot(saturation, math.radians(change.turn))


def _cast(change: ColorChange, average: Tensor) -> float:
    """The smaller of the largest channel differences of two changes: of a mean gray, and of the average color.

    Contrast around the mean of each channel tints grays but not the average; desaturation changes the average but not
    grays. A cast does both.
    """
    spreads = []
    for u, v in (change.cast.tolist(), chroma_shift(change, average)):
        red, green, blue = u / 2**0.5 + v / 6**0.5, -u / 2**0.5 + v / 6**0.5, -2 * v / 6**0.5
        spreads.append(max(red, green, blue) - min(red, green, blue))
    return min(spreads)


def _local(expected: Planes, y: Planes) -> dict[str, float]:
    """Blur, and the signals of its residual, on the mean of the channels."""
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
    skipped = 4 if abs(sigma) > 0.12 else 0  # border effects of a filter are not border errors
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
