"""The screen Walk, by mouse, by keyboard and by finger."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_contrast import CONTRAST
from page_idle import LEVELS
from page_idle import wait_until_idle as wait
from PIL import Image
from running_server import RunningServer, running_server
from small_text import save_text_vae

from vaekit.checkpoints.save import save
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.likelihoods import BernoulliPart
from vaekit.nets.mlp import MLPConfig
from vaekit.serve.settings import ServeOptions

LIVE, PIXELS = ".stage canvas", ".walk-pair figure:nth-child(2) canvas"


@pytest.fixture(scope="session")
def models(vae_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VAEs of photographs, of tiny images with one vector each, and of sentences."""
    folder = tmp_path_factory.mktemp("models to walk")
    (folder / "small.safetensors").write_bytes((vae_folder / "small.safetensors").read_bytes())
    net = MLPConfig((1, 8, 8), 2, (8,))
    save(assemble(PARTS, PartsConfig(net, GaussianPart(), BernoulliPart())).eval(), folder / "digits.safetensors")
    save_text_vae(folder / "sentences.safetensors")
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[RunningServer]:
    with running_server(ServeOptions((str(models / "small.safetensors"),), (models,))) as running:
        yield running


def opened(open_page: Any, **options: Any) -> Any:
    one = open_page("walk", **options)
    one.page.wait_for_selector(".walk-part")
    one.page.wait_for_selector(".input-thumbnail canvas")
    wait(one.page)
    return one


def slider(one: Any, name: str) -> Any:
    return one.page.get_by_role("slider", name=name, exact=True)


def test_a_walk_between_two_images(open_page: Any) -> None:
    """Both ends are the decoded images; keys move the point; the words say what is halfway."""
    one = opened(open_page)
    assert "Ghost index" in one.page.inner_text(".walk-verdict")
    position, seen = slider(one, "Position"), []
    position.focus()
    for key in ("Home", "End"):
        one.page.keyboard.press(key)
        wait(one.page)
        seen.append(one.page.evaluate(LEVELS, LIVE))
    assert seen[0] != seen[1]
    assert position.get_attribute("aria-valuetext") == "100 % of the way"
    one.page.keyboard.press("ArrowLeft")
    assert position.get_attribute("aria-valuetext") == "99 % of the way"
    one.choose("pixels, to compare")
    wait(one.page)
    assert one.page.evaluate(LEVELS, LIVE) != seen[1]
    one.choose("spherical")
    wait(one.page)


def test_many_moves_are_few_requests(open_page: Any) -> None:
    one = opened(open_page)
    before = len(one.asked)
    box = slider(one, "Position").bounding_box()
    one.page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2, steps=60)
    one.page.mouse.up()
    wait(one.page)
    assert 1 <= len(one.asked) - before <= 60
    assert slider(one, "Position").get_attribute("aria-valuetext").split()[0] in ("99", "100")


def test_strip_and_animation_are_saved(open_page: Any) -> None:
    one = opened(open_page)
    one.page.get_by_role("button", name="Make a strip and an animation").click()
    one.page.wait_for_selector(".walk-made img")
    with one.page.expect_download() as download:
        one.page.get_by_role("link", name="Save").first.click()
    with Image.open(io.BytesIO(Path(download.value.path()).read_bytes())) as image:
        assert image.width > image.height and download.value.suggested_filename == "strip.png"


def test_playing_moves_and_stops(open_page: Any) -> None:
    one = opened(open_page)
    one.page.get_by_role("button", name="Play from one image").click()
    one.page.wait_for_timeout(400)
    one.page.get_by_text("Stop", exact=True).click()
    wait(one.page)
    first = slider(one, "Position").input_value()
    one.page.wait_for_timeout(200)
    assert slider(one, "Position").input_value() == first != "0.5"


def test_along_an_axis(open_page: Any) -> None:
    one = opened(open_page)
    one.choose("Along an axis")
    wait(one.page)
    before = one.page.evaluate(LEVELS, LIVE)
    slider(one, "Distance").fill("3")
    wait(one.page)
    assert one.page.evaluate(LEVELS, LIVE) != before
    assert slider(one, "Axis").get_attribute("max") == "3"
    assert "4 axes" in one.page.inner_text(".walk-verdict")


def test_edits_of_light(open_page: Any) -> None:
    """The edit of pixels is that of `vaekit.tasks.alterations`; in latent space, something changes, too."""
    one = opened(open_page)
    one.choose("Edit light and color")
    wait(one.page)
    before, latent_before = one.page.evaluate(LEVELS, PIXELS), one.page.evaluate(LEVELS, LIVE)
    slider(one, "Exposure").fill("1")
    wait(one.page)
    after = one.page.evaluate(LEVELS, PIXELS)
    value = np.array(before, np.float64) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).clip(0, 1) * 2
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clip(0, 1) ** (1 / 2.4) - 0.055).clip(0, 1)
    colors = np.arange(len(before)) % 4 < 3
    assert np.abs(wanted - after)[colors].max() <= 1
    assert one.page.evaluate(LEVELS, LIVE) != latent_before
    one.page.get_by_role("button", name="Set all to zero").click()
    wait(one.page)
    assert one.page.evaluate(LEVELS, PIXELS) == before
    assert slider(one, "Exposure").get_attribute("aria-valuetext") == "±0.00 stops"


def test_vectors_are_walked_from_random_points(open_page: Any) -> None:
    one = opened(open_page)
    one.page.select_option("#walk-vae", "digits")
    one.page.wait_for_selector(".item-strip img")
    wait(one.page)
    assert one.page.locator(".item-strip").first.locator("img").count() == 7
    assert not one.page.get_by_role("radio", name="Edit light and color").count()
    one.choose("Between two images")
    wait(one.page)
    assert one.page.evaluate("document.querySelector('.stage canvas').width") == 8


def test_sentences_are_walked_by_keyboard(open_page: Any) -> None:
    one = opened(open_page)
    one.page.select_option("#walk-vae", "sentences")
    wait(one.page)
    one.page.get_by_role("textbox", name="From: text of an item").fill("A dog runs.")
    one.page.keyboard.press("Enter")
    wait(one.page)
    assert "as the VAE reconstructs it" in one.page.inner_text(".item-end >> nth=0")
    one.page.get_by_role("button", name="To: draw one from the prior").click()
    wait(one.page)
    assert "drawn from the prior" in one.page.inner_text(".item-end >> nth=1")
    assert one.page.locator(".item-strip").first.locator(".item-text").count() == 7


def test_it_fits_and_is_readable(open_page: Any) -> None:
    for phone, scheme in ((False, "dark"), (True, "light"), (True, "dark")):
        one = opened(open_page, phone=phone, color_scheme=scheme)
        for mode in ("Along an axis", "Edit light and color"):
            one.choose(mode)
            wait(one.page)
            assert one.page.evaluate(CONTRAST) == []
            assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        one.page.select_option("#walk-vae", "sentences")
        wait(one.page)
        assert one.page.evaluate(CONTRAST) == []
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_without_vaes_of_images(browser: Any, models: Path) -> None:
    """Look and Learn say so; Walk works."""
    with running_server(ServeOptions((str(models / "sentences.safetensors"),))) as alone:
        page, said = browser.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{alone.url}/#walk")
        page.wait_for_selector(".item-strip .item-text")
        page.goto(f"{alone.url}/#look")
        page.wait_for_selector(".screen.look .lead a")
        page.goto(f"{alone.url}/#learn")
        page.wait_for_selector(".lesson-body .note")
        page.close()
    assert said == []
