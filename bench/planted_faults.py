"""Faults to plant: each named defect in several ways and strengths.

`faults.py` implements them.
"""

from collections.abc import Mapping

import numpy as np

from faults import (
    MEAN,
    REC601,
    REC709,
    Fault,
    bands,
    blown,
    blown_by_luma,
    blur,
    border,
    box_blur,
    clip_at,
    clip_quantile,
    contrast,
    contrast_of_lightness,
    contrast_per_channel,
    corners,
    drops,
    gain,
    gamma,
    grid,
    halved,
    hsl_saturation,
    hsv_bytes_hue,
    hsv_hue,
    hsv_saturation,
    hsv_value,
    jpeg,
    lab_chroma,
    lab_hue,
    lightness,
    noise,
    offset,
    pil_blur,
    pil_color,
    pil_contrast,
    plane_hue,
    salt,
    same,
    steep_highlights,
    together,
    towards_gray,
    unsharp,
)

BAR: Mapping[str, tuple[frozenset[str], Mapping[str, Fault]]] = {
    "none": (frozenset(), {"same": same, "jpeg 97": jpeg(97), "noise 1": noise(1)}),
    "desaturate 15 %": (
        frozenset({"desaturated"}),
        {
            "601": towards_gray(0.85, REC601),
            "709": towards_gray(0.85, REC709),
            "mean": towards_gray(0.85, MEAN),
            "hsv": hsv_saturation(0.85),
            "hsl": hsl_saturation(0.85),
            "lab": lab_chroma(0.85),
            "pil": pil_color(0.85),
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
        {"601": towards_gray(1.15, REC601), "hsv": hsv_saturation(1.15), "lab": lab_chroma(1.15)},
    ),
    "desaturate 30 %": (frozenset({"desaturated"}), {"601": towards_gray(0.7, REC601), "hsv": hsv_saturation(0.7)}),
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
        {"desaturated, blurred": together(towards_gray(0.8, REC601), blur(1, "nearest"))},
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
