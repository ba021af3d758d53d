"""The result of a search: the contact sheet and the page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chromium import chromium
from example_report import HOSTILE
from PIL import Image
from refusals import refuses

from vaekit.errors import CannotWrite
from vaekit.report.neighbors import COLUMNS, TILE, SearchReport, ShownItem, write_page, write_sheet

NAMES = ("a.png", HOSTILE, "a-very-long-name-" * 20, "日本語.png", "bytes \udce9", "new\nline\x1b[2J", "g.png")


def items(*, images: bool) -> list[ShownItem]:
    pictures = [torch.rand(3, 28, 28) * 2 - 1, torch.rand(3, 700, 300) * 2 - 1, None]
    return [
        ShownItem(
            name,
            label=None if number == 2 else f"label {HOSTILE}",
            distance=0.1 * number,
            image=pictures[number % 3] if images else None,
            text="" if images else f"column: {number} {HOSTILE}",
            note="the query itself" if number == 0 else "",
        )
        for number, name in enumerate(NAMES)
    ]


def report(*, images: bool = True) -> SearchReport:
    return SearchReport(
        ShownItem(HOSTILE, image=torch.zeros(3, 40, 40) if images else None, text="row"),
        items(images=images),
        "images",
        {"index": "name", "embedding": {"vae": HOSTILE}},
    )


def test_the_sheet_has_a_tile_for_each_item(tmp_path: Path) -> None:
    write_sheet(report(), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > (1 + COLUMNS) * TILE and sheet.height > 2 * TILE
    one = SearchReport(report().query, report().neighbors[:1], "images")
    write_sheet(one, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as sheet:
        assert 2 * TILE < sheet.width < 3 * TILE
    write_sheet(SearchReport(report().query, [], "images"), tmp_path / "none.png")


@pytest.mark.parametrize("images", [True, False])
def test_the_page_is_self_contained_and_runs_nothing(tmp_path: Path, images: bool) -> None:
    write_page(report(images=images), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert HOSTILE not in page and "<script" not in page and 'http-equiv="Content-Security-Policy"' in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("data:image/webp") == (6 if images else 0) and ("column: 3" in page) != images
    assert "0.3000" in page and "\x1b" not in page


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for write in (write_sheet, write_page):
        with refuses(CannotWrite, tmp_path / "file"):
            write(report(), tmp_path / "file" / "result")


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.mark.nightly
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("images", [True, False])
def test_the_page_in_a_browser(browser: Any, tmp_path: Path, width: int, images: bool) -> None:
    write_page(report(images=images), tmp_path / "page.html")
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator(".neighbors > li").count() == len(NAMES)
    assert page.locator(".rank-number").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)") and said == []
