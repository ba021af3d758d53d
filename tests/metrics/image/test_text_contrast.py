"""Text on the card: its contrast, and what an OCR network makes of it."""

import importlib.util

import pytest
import torch
from refusals import refuses
from torch.nn import functional as F

from vaekit.errors import MissingPackage
from vaekit.metrics.image.color import luma
from vaekit.metrics.image.text_contrast import stroke_contrast
from vaekit.pretrained.ocr import character_error_rate, edit_distance, line_reader, read_lines
from vaekit.testcards.text import text_card

CARD = text_card((256, 512))
PLACES = [line.place for line in CARD.lines]


def test_contrast_of_strokes_is_their_amplitude() -> None:
    x = luma(CARD.image)
    torch.testing.assert_close(stroke_contrast(x, 0.3 * x - 0.2, PLACES), torch.full((1, len(PLACES)), 0.3))
    assert (stroke_contrast(x, -x, PLACES) < 0).all()
    assert stroke_contrast(x, torch.zeros_like(x), PLACES).abs().max() == 0


def test_small_text_loses_more_to_a_blur_and_light_as_much_as_dark() -> None:
    x = luma(CARD.image)
    y = F.avg_pool2d(F.pad(x[None], (1, 1, 1, 1), "replicate"), 3, 1)[0]
    kept = dict(
        zip(
            ((line.size, line.light_on_dark) for line in CARD.one_of_each),
            (stroke_contrast(x, y, [line.place for line in CARD.one_of_each])[0].tolist()),
            strict=True,
        )
    )
    assert kept[32, False] > kept[16, False] > kept[8, False] > 0
    for size in (8, 12, 16, 32):
        assert kept[size, False] == pytest.approx(kept[size, True], abs=0.1)


def test_text_in_another_place_does_not_count() -> None:
    x = luma(CARD.image)
    small = [line.place for line in CARD.lines if line.size <= 12]
    assert stroke_contrast(x, x.roll(4, -1), small).max() < 0.4


def test_nothing_there_is_nan() -> None:
    blank = torch.zeros(1, 8, 8)
    assert stroke_contrast(blank, blank, [(slice(0, 8), slice(0, 8))]).isnan().all()


def test_error_rates() -> None:
    assert character_error_rate(["a b", "cd"], ["ab", "cd"]) == 0
    assert character_error_rate(["", ""], ["ab", "cd"]) == 1
    assert character_error_rate(["abxx"], ["ab"]) == 1
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("flaw", "lawn") == 2


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rapidocr_onnxruntime", None)
    with refuses(MissingPackage, "vaekit[ocr]"):
        line_reader()


def test_lines_are_cut_out_as_the_reader_wants_them() -> None:
    seen = []
    read_lines(lambda line: str(seen.append(line)), CARD.image * torch.tensor([1.0, 1, 0]).view(1, 3, 1, 1), PLACES)
    for line, (rows, columns) in zip(seen, PLACES, strict=True):
        assert line.dtype.name == "uint8"
        assert line.shape == (rows.stop - rows.start + 6, columns.stop - columns.start + 6, 3)
        assert (line[..., 0] == 128).all()  # blue comes first


@pytest.mark.skipif(importlib.util.find_spec("rapidocr_onnxruntime") is None, reason="rapidocr-onnxruntime is not here")
@pytest.mark.filterwarnings("ignore")
def test_what_people_can_read_is_read() -> None:
    reader = line_reader()
    large = [line for line in CARD.one_of_each if line.size >= 14]
    read = read_lines(reader, CARD.image, [line.place for line in large])
    assert character_error_rate(read, [line.text for line in large]) < 0.03
    blurred = F.avg_pool2d(CARD.image, 9, 1, 4)
    read = read_lines(reader, blurred, [line.place for line in large])
    assert character_error_rate(read, [line.text for line in large]) > 0.3
