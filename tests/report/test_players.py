"""Players of a page: what is embedded, and in headless Chromium that all sounds run from one clock."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_report import HOSTILE, report

from vaekit.domains.listening import Listening
from vaekit.domains.music.sound import RATE, wav
from vaekit.metrics.measure import Measure
from vaekit.report.page import write_report
from vaekit.report.players import PlayedItem, player

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-sync", "--mute-audio"),
)
DISTANCE = Measure("distance", "distance", "dB", "lower", "A distance.", format=".1f")
SECONDS = 4.0


def listening(frequency: float) -> Listening:
    times = np.arange(int(SECONDS * RATE)) / RATE
    content = wav(np.sin(2 * np.pi * frequency * times).astype(np.float32) / 2)
    return Listening(content, "audio/wav", SECONDS, torch.zeros(3, 20, 40))


def played(name: str = "a.wav") -> PlayedItem:
    sounds = {"Original": listening(200.0), "one": listening(300.0), HOSTILE: listening(400.0)}
    return PlayedItem(name, "worst distance", sounds, [(DISTANCE, {"one": 2.0, HOSTILE: float("nan")})])


def test_values_that_are_not_there_are_a_dash() -> None:
    made = player(played())
    assert made.columns == ["one", HOSTILE] and made.rows == [(DISTANCE, ["2.0 dB", "-"])]
    assert made.seconds == SECONDS and made.tracks[0].url.startswith("data:audio/wav;base64,")


def test_pages_without_sounds_have_no_script_for_them(tmp_path: Path) -> None:
    for name, sounds in (("with", [played(HOSTILE)]), ("without", [])):
        write_report(report(), (), tmp_path / f"{name}.html", sounds)
    with_sounds, without = ((tmp_path / f"{name}.html").read_text("utf-8") for name in ("with", "without"))
    assert "media-src" in with_sounds and with_sounds.count("sha256-") == 2 and HOSTILE not in with_sounds
    assert "media-src" not in without and without.count("sha256-") == 1 and "AudioContext" not in without


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium on the PATH")
    write_report(report(), (), tmp_path / "a.html", [played(), played(HOSTILE)])
    said: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        opened = browser.new_context(viewport={"width": 500, "height": 800}).new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto((tmp_path / "a.html").as_uri())
        yield opened
        assert said == []
        browser.close()


@pytest.mark.nightly
def test_the_keyboard_plays_switches_and_seeks(page: Any) -> None:
    first, second = (page.locator(".listening").nth(number) for number in (0, 1))
    play, clock, seek = (first.locator(each) for each in (".play", ".clock", ".seek"))
    assert first.locator("audio:visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    play.focus()
    page.keyboard.press("Enter")
    first.locator(".play", has_text="Pause").wait_for()
    page.wait_for_timeout(600)
    before = clock.inner_text()
    assert before > "0:00.0"
    first.locator("input[type=radio]:checked").focus()
    page.keyboard.press("ArrowLeft")
    assert first.locator(".heard").get_attribute("data-title") == "Original"
    assert play.inner_text() == "Pause" and clock.inner_text() >= before
    second.locator(".play").click()  # one item plays at a time
    first.locator(".play", has_text="Play").wait_for()
    second.locator(".play").click()
    seek.focus()
    page.keyboard.press("Home")
    assert clock.inner_text().startswith("0:00.0 ")
    page.keyboard.press("End")
    assert clock.inner_text().startswith("0:04.0 ")
    first.locator(".timeline").first.click()  # in the middle
    assert clock.inner_text().startswith("0:02.0 ")
