"""Faults to plant: each name of the vocabulary in several ways and strengths, as 8-bit files would have them.

A picture here is a NumPy array (h, w, 3) in [0, 1], sRGB-encoded. Nothing of vaekit is used, so that no detector looks
for its own inverse.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage
from skimage import color

Picture = np.ndarray
Fault = Callable[[Picture, np.random.Generator], Picture]

REC601, REC709, MEAN = (0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722), (1 / 3, 1 / 3, 1 / 3)


def as_file(picture: Picture) -> Picture:
    """What an 8-bit file keeps."""
    return np.round(np.clip(picture, 0, 1) * 255) / 255


def towards_grey(keep: float, weights: tuple[float, ...]) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        grey = (x @ np.array(weights))[..., None]
        return grey + keep * (x - grey)

    return fault


def hsv_saturation(keep: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2hsv(x)
        value[..., 1] = np.clip(value[..., 1] * keep, 0, 1)
        return color.hsv2rgb(value)

    return fault


def hsl_saturation(keep: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        middle = (x.max(-1, keepdims=True) + x.min(-1, keepdims=True)) / 2
        return middle + keep * (x - middle)

    return fault


def lab_chroma(keep: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2lab(x)
        value[..., 1:] *= keep
        return color.lab2rgb(value)

    return fault


def pil_colour(keep: float) -> Fault:
    return lambda x, _: np.asarray(ImageEnhance.Color(pil(x)).enhance(keep)) / 255


def pil_contrast(factor: float) -> Fault:
    return lambda x, _: np.asarray(ImageEnhance.Contrast(pil(x)).enhance(factor)) / 255


def pil(x: Picture) -> Image.Image:
    return Image.fromarray(np.round(x * 255).astype(np.uint8))


def contrast(factor: float, pivot: float | None) -> Fault:
    """About a level, or the mean of each channel."""

    def fault(x: Picture, _: np.random.Generator) -> Picture:
        middle = x.mean() if pivot is None else pivot
        return middle + factor * (x - middle)

    return fault


def contrast_per_channel(factor: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        middle = x.mean(axis=(0, 1))
        return middle + factor * (x - middle)

    return fault


def contrast_of_lightness(factor: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2lab(x)
        middle = value[..., 0].mean()
        value[..., 0] = middle + factor * (value[..., 0] - middle)
        return color.lab2rgb(value)

    return fault


def lab_hue(degrees: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2lab(x)
        turned = (value[..., 1] + 1j * value[..., 2]) * np.exp(1j * np.radians(degrees))
        return color.lab2rgb(np.stack([value[..., 0], turned.real, turned.imag], axis=-1))

    return fault


def hsv_hue(degrees: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2hsv(x)
        value[..., 0] = (value[..., 0] + degrees / 360) % 1
        return color.hsv2rgb(value)

    return fault


def plane_hue(degrees: float, matrix: str) -> Fault:
    """In the plane of Cb and Cr, or of I and Q."""
    there, back = {
        "ycbcr": (color.rgb2ypbpr, color.ypbpr2rgb),
        "yiq": (color.rgb2yiq, color.yiq2rgb),
    }[matrix]

    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = there(x)
        turned = (value[..., 1] + 1j * value[..., 2]) * np.exp(1j * np.radians(degrees))
        return back(np.stack([value[..., 0], turned.real, turned.imag], axis=-1))

    return fault


def hsv_bytes_hue(degrees: float) -> Fault:
    """As Pillow's 8-bit HSV has it, whose hue has 256 steps."""

    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = np.array(pil(x).convert("HSV"))
        value[..., 0] = (value[..., 0].astype(int) + round(degrees / 360 * 256)) % 256
        return np.asarray(Image.fromarray(value, "HSV").convert("RGB")) / 255

    return fault


def gain(factor: float) -> Fault:
    return lambda x, _: x * factor


def offset(amount: float) -> Fault:
    return lambda x, _: x + amount


def gamma(exponent: float) -> Fault:
    return lambda x, _: x**exponent


def lightness(amount: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2lab(x)
        value[..., 0] = np.clip(value[..., 0] * (1 + amount), 0, 100)
        return color.lab2rgb(value)

    return fault


def hsv_value(factor: float) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        value = color.rgb2hsv(x)
        value[..., 2] = np.clip(value[..., 2] * factor, 0, 1)
        return color.hsv2rgb(value)

    return fault


def blur(sigma: float, mode: str) -> Fault:
    return lambda x, _: ndimage.gaussian_filter(x, (sigma, sigma, 0), mode=mode)


def pil_blur(radius: float) -> Fault:
    return lambda x, _: np.asarray(pil(x).filter(ImageFilter.GaussianBlur(radius))) / 255


def box_blur(side: int) -> Fault:
    return lambda x, _: ndimage.uniform_filter(x, (side, side, 0), mode="nearest")


def halved(x: Picture, _: np.random.Generator) -> Picture:
    """Made half as large and large again."""
    small = pil(x).resize((x.shape[1] // 2, x.shape[0] // 2), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((x.shape[1], x.shape[0]), Image.Resampling.BICUBIC)) / 255


def unsharp(amount: float, sigma: float) -> Fault:
    return lambda x, _: x + amount * (x - ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest"))


def grid(kind: str, amplitude: float, period: int = 8, channels: tuple[float, ...] = (1, 1, 1)) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        i, j = np.mgrid[: x.shape[0], : x.shape[1]]
        turn = 2 * np.pi / period
        pattern = {
            "cosine": (np.cos(turn * i) + np.cos(turn * j)) / 2,
            "sum": np.cos(turn * i) + np.cos(turn * j),
            "product": np.cos(turn * i) * np.cos(turn * j),
            "columns": np.cos(turn * j),
            "lines": ((i % period == 0) | (j % period == 0)).astype(float),
            "dark lines": -((i % period == 0) | (j % period == 0)).astype(float),
            "vertical lines": (j % period == 0).astype(float),
            "checker": ((i // period + j // period) % 2) * 2.0 - 1,
            "small checker": ((i // (period // 2) + j // (period // 2)) % 2) * 2.0 - 1,
        }[kind]
        return x + amplitude / 255 * pattern[..., None] * np.array(channels)

    return fault


def bands(how: str, bits: int) -> Fault:
    steps = 2**bits

    def fault(x: Picture, _: np.random.Generator) -> Picture:
        levels = np.round(x * 255)
        size = 256 // steps
        if how == "luma":
            grey = x @ np.array(REC601)
            return x + (np.round(grey * (steps - 1)) / (steps - 1) - grey)[..., None]
        return {
            "floor": np.floor(levels / size) * size / 255,
            "middle": (np.floor(levels / size) * size + size / 2) / 255,
            "round": np.round(levels / size) * size / 255,
            "linspace": np.round(x * (steps - 1)) / (steps - 1),
            "stretched floor": np.minimum(np.floor(x * steps), steps - 1) / (steps - 1),
        }[how]

    return fault


def clip_at(level: float, stretched: bool) -> Fault:
    return lambda x, _: np.minimum(x, level) / (level if stretched else 1)


def clip_quantile(part: float, stretched: bool) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        level = np.quantile(x, part)
        return np.minimum(x, level) / (level if stretched else 1)

    return fault


def blown(level: float) -> Fault:
    """What is brighter becomes white."""
    return lambda x, _: np.where(x > level, 1.0, x)


def blown_by_luma(level: float) -> Fault:
    return lambda x, _: np.where((x @ np.array(REC601))[..., None] > level, 1.0, x)


def steep_highlights(knee: float, slope: float) -> Fault:
    return lambda x, _: np.where(x > knee, knee + slope * (x - knee), x)


def salt(share: float, kind: str) -> Fault:
    def fault(x: Picture, random: np.random.Generator) -> Picture:
        y = x.copy()
        hit = random.random(x.shape[:2]) < share
        count = int(hit.sum())
        if kind == "random":
            y[hit] = random.random((count, 3))
        elif kind == "channels":
            each = random.random(x.shape) < share
            y[each] = random.integers(0, 2, int(each.sum()))
        else:
            pepper = random.random(count) < (0.5 if kind == "pepper" else 0)
            y[hit] = np.where(pepper, 0.0, 1.0)[:, None]
        return y

    return fault


def corners(amount: float, side: int, count: int) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        y = x.copy()
        h, w = x.shape[:2]
        places = [(0, 0), (0, w - side), (h - side, 0), (h - side, w - side)][:count]
        fall = np.linspace(1, 0.4, side)
        for top, left in places:
            rows = fall if top == 0 else fall[::-1]
            columns = fall if left == 0 else fall[::-1]
            y[top : top + side, left : left + side] += amount / 255 * (rows[:, None] * columns)[..., None]
        return y

    return fault


def border(amount: float, width: int) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        y = x.copy()
        mask = np.ones(x.shape[:2])
        mask[width:-width, width:-width] = 0
        return y + amount / 255 * mask[..., None]

    return fault


def drops(amount: float, radius: float, count: int) -> Fault:
    def fault(x: Picture, random: np.random.Generator) -> Picture:
        y = x.copy()
        i, j = np.mgrid[: x.shape[0], : x.shape[1]]
        for _ in range(count):
            top, left = random.integers(32, x.shape[0] - 32), random.integers(32, x.shape[1] - 32)
            y += (amount / 255 * np.exp(-((i - top) ** 2 + (j - left) ** 2) / (2 * radius**2)))[..., None]
        return y

    return fault


def jpeg(quality: int) -> Fault:
    def fault(x: Picture, _: np.random.Generator) -> Picture:
        file = io.BytesIO()
        pil(x).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)) / 255

    return fault


def noise(sigma: float) -> Fault:
    return lambda x, random: x + random.normal(0, sigma / 255, x.shape)


def same(x: Picture, _: np.random.Generator) -> Picture:
    return x


def together(*faults: Fault) -> Fault:
    def fault(x: Picture, random: np.random.Generator) -> Picture:
        for each in faults:
            x = as_file(each(x, random))
        return x

    return fault


BAR: Mapping[str, tuple[frozenset[str], Mapping[str, Fault]]] = {
    "none": (frozenset(), {"same": same, "jpeg 97": jpeg(97), "noise 1": noise(1)}),
    "desaturate 15 %": (
        frozenset({"desaturated"}),
        {
            "601": towards_grey(0.85, REC601),
            "709": towards_grey(0.85, REC709),
            "mean": towards_grey(0.85, MEAN),
            "hsv": hsv_saturation(0.85),
            "hsl": hsl_saturation(0.85),
            "lab": lab_chroma(0.85),
            "pil": pil_colour(0.85),
        },
    ),
    "contrast -10 %": (
        frozenset({"low_contrast"}),
        {
            "mid": contrast(0.9, 0.5),
            "mean": contrast(0.9, None),
            "channel": contrast_per_channel(0.9),
            "pil": pil_contrast(0.9),
            "L*": contrast_of_lightness(0.9),
        },
    ),
    "hue +4": (
        frozenset({"hue_shift"}),
        {
            "lab": lab_hue(4),
            "hsv": hsv_hue(4),
            "ycbcr": plane_hue(4, "ycbcr"),
            "yiq": plane_hue(4, "yiq"),
            "hsv 8 bit": hsv_bytes_hue(4),
        },
    ),
    "brightness +5 %": (
        frozenset({"brightness_shift"}),
        {
            "gain": gain(1.05),
            "offset": offset(0.05),
            "hsv": hsv_value(1.05),
            "L*": lightness(0.05),
        },
    ),
    "blur 1": (
        frozenset({"blurred"}),
        {**{mode: blur(1, mode) for mode in ("reflect", "constant", "wrap", "nearest")}, "pil": pil_blur(1)},
    ),
    "grid 2/255": (
        frozenset({"grid"}),
        {
            kind: grid(kind, 2)
            for kind in ("cosine", "sum", "product", "columns", "lines", "dark lines", "vertical lines", "checker")
        }
        | {"small checker": grid("small checker", 2), "luma": grid("cosine", 2, 8, (1, 1, 1))},
    ),
    "banding 5 bit": (
        frozenset({"banding"}),
        {how: bands(how, 5) for how in ("floor", "middle", "round", "linspace", "stretched floor", "luma")},
    ),
    "clipped": (
        frozenset({"clipped"}),
        {
            "200": clip_at(200 / 255, False),
            "220": clip_at(220 / 255, False),
            "0.8 stretched": clip_at(0.8, True),
            "0.9 stretched": clip_at(0.9, True),
            "90 %": clip_quantile(0.9, False),
            "90 % stretched": clip_quantile(0.9, True),
            "gain 1.2": gain(1.2),
            "gain 1.3": gain(1.3),
            "offset 0.15": offset(0.15),
            "blown 200": blown(200 / 255),
            "blown luma": blown_by_luma(200 / 255),
            "steep": steep_highlights(0.6, 1.6),
        },
    ),
    "salt": (
        frozenset({"fried_pixels"}),
        {
            f"{100 * share} % {kind}": salt(share, kind)
            for share in (1e-4, 1e-3, 1e-2)
            for kind in ("white", "pepper", "random")
        },
    ),
}
"""The ten cases of the bar: what must be named, and ways to plant it."""

MORE: Mapping[str, tuple[frozenset[str], Mapping[str, Fault]]] = {
    "oversaturate": (
        frozenset({"oversaturated"}),
        {"601": towards_grey(1.15, REC601), "hsv": hsv_saturation(1.15), "lab": lab_chroma(1.15)},
    ),
    "desaturate 30 %": (frozenset({"desaturated"}), {"601": towards_grey(0.7, REC601), "hsv": hsv_saturation(0.7)}),
    "contrast +10 %": (
        frozenset({"high_contrast"}),
        {"mid": contrast(1.1, 0.5), "mean": contrast(1.1, None), "pil": pil_contrast(1.1)},
    ),
    "contrast -20 %": (frozenset({"low_contrast"}), {"mid": contrast(0.8, 0.5), "mean": contrast(0.8, None)}),
    "hue -4, 8": (
        frozenset({"hue_shift"}),
        {"lab -4": lab_hue(-4), "hsv -4": hsv_hue(-4), "lab 8": lab_hue(8), "hsv 8": hsv_hue(8)},
    ),
    "brightness": (
        frozenset({"brightness_shift"}),
        {"-5 %": gain(0.95), "offset -5 %": offset(-0.05), "-10 %": gain(0.9), "gamma": gamma(0.9)},
    ),
    "blur": (
        frozenset({"blurred"}),
        {"0.7": blur(0.7, "nearest"), "2": blur(2, "nearest"), "box 3": box_blur(3), "halved": halved},
    ),
    "sharpen": (frozenset({"oversharpened"}), {"1": unsharp(1, 1), "0.5": unsharp(0.5, 1), "1, 2": unsharp(1, 2)}),
    "grid": (
        frozenset({"grid"}),
        {
            "16": grid("lines", 2, 16),
            "32": grid("cosine", 2, 32),
            "4": grid("cosine", 2, 4),
            "blue": grid("sum", 3, 8, (0, 0, 1)),
        },
    ),
    "banding": (frozenset({"banding"}), {"4": bands("linspace", 4), "6": bands("floor", 6)}),
    "shadows": (
        frozenset({"clipped"}),
        {"max 40": lambda x, _: np.maximum(x, 40 / 255), "crushed": lambda x, _: np.where(x < 0.2, 0.0, x)},
    ),
    "corner": (
        frozenset({"corner"}),
        {
            "one": corners(40, 32, 1),
            "four": corners(-30, 32, 4),
            "large": corners(30, 64, 1),
            "border": border(-20, 12),
        },
    ),
    "droplets": (
        frozenset({"droplets"}),
        {"bright": drops(60, 4, 10), "dark": drops(-60, 6, 10), "few": drops(80, 5, 3)},
    ),
    "jpeg": (frozenset(), {"95": jpeg(95), "90": jpeg(90)}),
    "pairs": (
        frozenset({"desaturated", "blurred"}),
        {"desaturated, blurred": together(towards_grey(0.8, REC601), blur(1, "nearest"))},
    ),
    "pairs 2": (
        frozenset({"low_contrast", "grid"}),
        {"low contrast, grid": together(contrast(0.85, 0.5), grid("sum", 2))},
    ),
    "pairs 3": (
        frozenset({"hue_shift", "fried_pixels"}),
        {"hue, salt": together(lab_hue(6), salt(1e-3, "white"))},
    ),
    "pairs 4": (
        frozenset({"brightness_shift", "blurred"}),
        {"bright, blurred": together(gain(0.92), blur(1.2, "nearest"))},
    ),
}
"""Other strengths, other faults, and faults together."""
