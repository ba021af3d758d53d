"""Reading text in images with an OCR network, and how much of it is read wrong.

The reader is the recognizer of `rapidocr-onnxruntime` (PaddleOCR's, whose weights come inside the package); it is an
optional package. It reads one line at a time at a known place: finding text is not what is judged here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaekit.metrics.image.levels import nearest_levels
from vaekit.metrics.image.text_contrast import Place
from vaekit.optional import require
from vaekit.shapes import Images

Reader = Callable[[Any], str]
"""A line as an array (h, w, 3), uint8, blue first -> what it says."""
RIM = 3
"""Pixels around a line that the reader sees as well, as far as the image goes."""


def line_reader() -> Reader:
    """The OCR network, ready to read. Loading it takes a second or two; nothing is fetched.

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
    """What each line of text says in one image (1, 3, h, w) in [-1, 1]."""
    levels = nearest_levels(x[0].nan_to_num()).byte().permute(1, 2, 0).numpy()
    return [reader(np.ascontiguousarray(levels[_wider(rows), _wider(columns), ::-1])) for rows, columns in places]


def _wider(part: slice) -> slice:
    return slice(max(0, part.start - RIM), part.stop + RIM)


def character_error_rate(read: Sequence[str], truth: Sequence[str]) -> float:
    """Letters read wrong for each letter that there is, over all lines.

        CER = sum of edit distances / sum of lengths      (Levenshtein 1966; insert, delete and replace cost 1)

    0 is all right; 1 is as many mistakes as letters, and it may be more. Spaces do not count: where a small font has
    one is a matter of taste.

    >>> character_error_rate(["Sphlnx of", "b1ack"], ["Sphinx of", "black"])
    0.15384615384615385
    """
    pairs = [(one.replace(" ", ""), other.replace(" ", "")) for one, other in zip(read, truth, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs) / sum(len(other) for _, other in pairs)


def edit_distance(a: str, b: str) -> int:
    """The fewest letters to insert, delete or replace that turn one text into the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        before, row = row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other)))
    return row[-1]
