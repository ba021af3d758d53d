"""Read text in images with an OCR network, and measure the character error rate.

The recognizer is that of `rapidocr-onnxruntime` (PaddleOCR's, whose weights are inside the package), an
optional package. It reads one line at a time at a known position; text detection is not measured.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaekit.metrics.image.levels import nearest_levels
from vaekit.metrics.image.text_contrast import Place
from vaekit.optional import require
from vaekit.shapes import Images

Reader = Callable[[Any], str]
"""A line as an array (h, w, 3), uint8, BGR -> its text."""
RIM = 3
"""Margin in pixels around a line, clipped to the image."""


def line_reader() -> Reader:
    """Load the OCR network. This takes a second or two; nothing is downloaded.

    Raises:
        MissingPackage: rapidocr-onnxruntime is not installed.
    """
    package = require("rapidocr_onnxruntime", "read text in images (OCR)", "ocr")
    engine = package.RapidOCR()

    def read(line: Any) -> str:
        found, _ = engine(line, use_det=False, use_cls=False, use_rec=True)
        return str(found[0][0]) if found else ""

    return read


def read_lines(reader: Reader, x: Images, places: Sequence[Place]) -> list[str]:
    """The recognized text of each line in one image (1, 3, h, w) in [-1, 1]."""
    levels = nearest_levels(x[0].nan_to_num()).byte().permute(1, 2, 0).numpy()
    return [reader(np.ascontiguousarray(levels[_wider(rows), _wider(columns), ::-1])) for rows, columns in places]


def _wider(part: slice) -> slice:
    return slice(max(0, part.start - RIM), part.stop + RIM)


def character_error_rate(read: Sequence[str], truth: Sequence[str]) -> float:
    """The number of character errors per character of the true text, over all lines.

        CER = sum of edit distances / sum of lengths      (Levenshtein 1966; insert, delete and replace cost 1)

    0 is perfect; 1 is as many errors as characters, and it may exceed 1. Spaces are ignored, as their recognition
    in small fonts is ambiguous.

    >>> character_error_rate(["Sphlnx of", "b1ack"], ["Sphinx of", "black"])
    0.15384615384615385
    """
    pairs = [(one.replace(" ", ""), other.replace(" ", "")) for one, other in zip(read, truth, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs) / sum(len(other) for _, other in pairs)


def edit_distance(a: str, b: str) -> int:
    """The minimum number of insertions, deletions and replacements of characters between two texts.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        before, row = row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other)))
    return row[-1]
