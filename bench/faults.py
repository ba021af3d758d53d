"""Image degradations, each with a strength.

An image here is a NumPy array (h, w, 3) in [0, 1], sRGB-encoded. Nothing of vaekit is used, so that no detector is
tested with its own inverse.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage
from skimage import color

Pixels = np.ndarray
Fault = Callable[[Pixels, np.random.Generator], Pixels]

REC601, REC709, MEAN = (0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722), (1 / 3, 1 / 3, 1 / 3)


def as_file(image: Pixels) -> Pixels:
    """What an 8-bit file keeps."""
    return np.round(np.clip(image, 0, 1) * 255) / 255


def towards_gray(keep: float, weights: tuple[float, ...]) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        gray = (x @ np.array(weights))[..., None]
        return gray + keep * (x - gray)

    return fault


def hsv_saturation(keep: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = color.rgb2hsv(x)
        value[..., 1] = np.clip(value[..., 1] * keep, 0, 1)
        return color.hsv2rgb(value)

    return fault


def hsl_saturation(keep: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        middle = (x.max(-1, keepdims=True) + x.min(-1, keepdims=True)) / 2
        return middle + keep * (x - middle)

    return fault


def lab_chroma(keep: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = color.rgb2lab(x)
        value[..., 1:] *= keep
        return color.lab2rgb(value)

    return fault


def pil_color(keep: float) -> Fault:
    return lambda x, _: np.asarray(ImageEnhance.Color(pil(x)).enhance(keep)) / 255


def pil_contrast(factor: float) -> Fault:
    return lambda x, _: np.asarray(ImageEnhance.Contrast(pil(x)).enhance(factor)) / 255


def pil(x: Pixels) -> Image.Image:
    return Image.fromarray(np.round(x * 255).astype(np.uint8))


def contrast(factor: float, pivot: float | None) -> Fault:
    """About a level, or the mean of each channel."""

    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        middle = x.mean() if pivot is None else pivot
        return middle + factor * (x - middle)

    return fault


def contrast_per_channel(factor: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        middle = x.mean(axis=(0, 1))
        return middle + factor * (x - middle)

    return fault


def contrast_of_lightness(factor: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = color.rgb2lab(x)
        middle = value[..., 0].mean()
        value[..., 0] = middle + factor * (value[..., 0] - middle)
        return color.lab2rgb(value)

    return fault


def lab_hue(degrees: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = color.rgb2lab(x)
        turned = (value[..., 1] + 1j * value[..., 2]) * np.exp(1j * np.radians(degrees))
        return color.lab2rgb(np.stack([value[..., 0], turned.real, turned.imag], axis=-1))

    return fault


def hsv_hue(degrees: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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

    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = there(x)
        turned = (value[..., 1] + 1j * value[..., 2]) * np.exp(1j * np.radians(degrees))
        return back(np.stack([value[..., 0], turned.real, turned.imag], axis=-1))

    return fault


def hsv_bytes_hue(degrees: float) -> Fault:
    """As Pillow's 8-bit HSV has it, whose hue has 256 steps."""

    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        value = color.rgb2lab(x)
        value[..., 0] = np.clip(value[..., 0] * (1 + amount), 0, 100)
        return color.lab2rgb(value)

    return fault


def hsv_value(factor: float) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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


def halved(x: Pixels, _: np.random.Generator) -> Pixels:
    """Made half as large and large again."""
    small = pil(x).resize((x.shape[1] // 2, x.shape[0] // 2), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((x.shape[1], x.shape[0]), Image.Resampling.BICUBIC)) / 255


def unsharp(amount: float, sigma: float) -> Fault:
    return lambda x, _: x + amount * (x - ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest"))


def grid(kind: str, amplitude: float, period: int = 8, channels: tuple[float, ...] = (1, 1, 1)) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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

    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        levels = np.round(x * 255)
        size = 256 // steps
        if how == "luma":
            gray = x @ np.array(REC601)
            return x + (np.round(gray * (steps - 1)) / (steps - 1) - gray)[..., None]
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
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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
    def fault(x: Pixels, random: np.random.Generator) -> Pixels:
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
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
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
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        y = x.copy()
        mask = np.ones(x.shape[:2])
        mask[width:-width, width:-width] = 0
        return y + amount / 255 * mask[..., None]

    return fault


def drops(amount: float, radius: float, count: int) -> Fault:
    def fault(x: Pixels, random: np.random.Generator) -> Pixels:
        y = x.copy()
        i, j = np.mgrid[: x.shape[0], : x.shape[1]]
        for _ in range(count):
            top, left = random.integers(32, x.shape[0] - 32), random.integers(32, x.shape[1] - 32)
            y += (amount / 255 * np.exp(-((i - top) ** 2 + (j - left) ** 2) / (2 * radius**2)))[..., None]
        return y

    return fault


def jpeg(quality: int) -> Fault:
    def fault(x: Pixels, _: np.random.Generator) -> Pixels:
        file = io.BytesIO()
        pil(x).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)) / 255

    return fault


def noise(sigma: float) -> Fault:
    return lambda x, random: x + random.normal(0, sigma / 255, x.shape)


def same(x: Pixels, _: np.random.Generator) -> Pixels:
    return x


def together(*faults: Fault) -> Fault:
    def fault(x: Pixels, random: np.random.Generator) -> Pixels:
        for each in faults:
            x = as_file(each(x, random))
        return x

    return fault
