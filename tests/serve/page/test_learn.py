"""The screen Learn: five lessons by mouse, by keyboard and by finger; its digits are those of torch."""

import json
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from page_contrast import CONTRAST
from page_idle import LEVELS
from page_idle import wait_until_idle as wait
from torch.nn import functional as F

from vaekit.serve.page_files import read_page

TITLES = (
    "Encoder and decoder",
    "Why a distribution",
    "Swapping a VAE",
    "Why images blur",
    "Where diffusion happens",
)
ASSETS = files("vaekit.serve") / "page" / "learn"


def opened(open_page: Any, number: int = 1, **options: Any) -> Any:
    one = open_page("learn", **options)
    one.page.wait_for_selector(".lesson-body")
    if number > 1:
        one.page.get_by_role("button", name=f"Lesson {number}").click()
    one.page.wait_for_selector(f".lesson h2:has-text('{TITLES[number - 1]}')")
    wait(one.page)
    return one


def decoded(model: dict[str, Any], points: torch.Tensor) -> torch.Tensor:
    """Gray levels (n, 784) of a decoder in the file, from 0 to 255."""
    content = (ASSETS / "digits.bin").read_bytes()

    def array(about: dict[str, Any]) -> torch.Tensor:
        count = int(np.prod(about["shape"]))
        values = np.frombuffer(content, about["dtype"], count, about["start"]).astype(np.float32)
        return torch.from_numpy(values).view(about["shape"])

    h = points
    for number, layer in enumerate(model["layers"], start=1):
        weight = array(layer["weight"])
        if "scale" in layer:
            weight = weight * array(layer["scale"])[:, None]
        h = F.linear(h, weight, array(layer["bias"]))
        h = F.silu(h) if number < len(model["layers"]) else h.sigmoid()
    return 255 * h


def test_digits_are_those_of_torch(open_page: Any) -> None:
    """To a level of 255."""
    told = json.loads((ASSETS / "digits.json").read_text())
    points = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-3.0, 0.25], [12.0, -20.0]])
    one = open_page("learn")
    script = """
    async (points) => {
      const { loadDigits, decodeDigit } = await import("/page/learn/digits.js");
      const { models } = await loadDigits();
      return models.map((model) => points.map((point) => [...decodeDigit(model, point)]));
    }
    """
    found = one.page.evaluate(script, points.tolist())
    for model, levels in zip(told["models"], found, strict=True):
        assert (255 * torch.tensor(levels) - decoded(model, points)).abs().max() < 1


def test_assets_are_small() -> None:
    sizes = {name: len(content) for name, (content, _) in read_page().items() if name.startswith("learn/")}
    assert sum(size for name, size in sizes.items() if "digits." in name) < 300_000
    assert sum(sizes.values()) < 600_000
    assert read_page()["learn/digits.bin"][1] == "application/octet-stream"


def test_the_tour_goes_on_and_back_by_keyboard(open_page: Any) -> None:
    one = opened(open_page)
    for title in TITLES[1:]:
        one.page.get_by_role("button", name="Next lesson").press("Enter")
        one.page.wait_for_selector(f".lesson h2:has-text('{title}')")
        wait(one.page)
        assert one.page.locator(".steps [aria-current=step]").inner_text().endswith(title)
    assert one.page.get_by_role("button", name="Next lesson").is_disabled()
    for title in reversed(TITLES[:-1]):
        one.page.get_by_role("button", name="Previous lesson").press("Enter")
        one.page.wait_for_selector(f".lesson h2:has-text('{title}')")
    assert one.page.get_by_role("button", name="Previous lesson").is_disabled()


def test_latents_are_drawn_to_scale(open_page: Any) -> None:
    """The VAE of the tests has 4 channels at 1/4: 12 times fewer numbers."""
    one = opened(open_page)
    assert "12 times fewer" in one.page.inner_text(".flow-latents")
    assert one.page.locator(".latent-planes canvas").count() == 4
    widths = "[...document.querySelectorAll('.planes canvas, .latent-planes canvas')].map((each) => each.clientWidth)"
    planes = one.page.evaluate(widths)
    assert planes[0] / planes[3] == pytest.approx(4, rel=0.1)
    one.page.set_input_files(".lesson input[type=file]", one.photo)
    wait(one.page)
    assert "PSNR" in one.page.inner_text(".flow-result")


def test_the_ring_is_moved(open_page: Any) -> None:
    """By mouse and keys; each plane shows what its own decoder makes of the point."""
    one = opened(open_page, 2)
    plane = one.page.locator(".plane").first
    seen = [one.page.evaluate(LEVELS, ".digit")]
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    one.page.mouse.move(box["x"] + 20, box["y"] + 20)
    one.page.mouse.down()
    seen.append(one.page.evaluate(LEVELS, ".digit"))
    one.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    one.page.mouse.up()
    seen.append(one.page.evaluate(LEVELS, ".digit"))
    label = plane.get_attribute("aria-label")
    one.page.keyboard.press("Shift+ArrowUp")
    seen.append(one.page.evaluate(LEVELS, ".digit"))
    assert plane.get_attribute("aria-label") != label and "VAE: point at" in label
    assert all(before != after for before, after in pairwise(seen))


def test_pairs_and_random_points_are_drawn_again(open_page: Any) -> None:
    one = opened(open_page, 2)
    before = one.page.evaluate(LEVELS, ".digits")
    one.page.get_by_role("button", name="Walk between another pair of test digits").click()
    assert one.page.evaluate(LEVELS, ".digits") != before
    drawn = ".space figure:nth-of-type(2) .digits"
    before = one.page.evaluate(LEVELS, drawn)
    one.page.get_by_role("button", name="Draw other random points").click()
    assert one.page.evaluate(LEVELS, drawn) != before
    one.choose("points only")


def test_mistakes_show(open_page: Any) -> None:
    """Every mistake changes the image; other VAEs of the same shape can be tried."""
    one = opened(open_page, 3)
    wrong = ".lesson .walk-pair figure:nth-child(2) canvas"
    seen = [one.page.evaluate(LEVELS, wrong)]
    for name in ("scale forgotten", "shift forgotten", "by copy"):
        one.choose(name)
        wait(one.page)
        seen.append(one.page.evaluate(LEVELS, wrong))
    assert all(before != after for before, after in pairwise(seen))
    right = one.page.evaluate(LEVELS, ".lesson .walk-pair figure:nth-child(1) canvas")
    assert seen[-1] == right, "a copy decodes the same"


def test_the_average_has_about_half_of_the_error(open_page: Any) -> None:
    one = opened(open_page, 4)
    assert "no error" not in one.page.inner_text(".guessing")
    numbers = "[...document.querySelector('.guessing').querySelectorAll('p')].at(-1).textContent.match(/\\d+/g)"
    blurred, sharp = map(int, one.page.evaluate(numbers)[:2])
    assert sharp == pytest.approx(2 * blurred, rel=0.02)
    slider = one.page.get_by_role("slider", name="How unsure the place of each stroke is")
    slider.press("Home")
    assert "no error" in one.page.inner_text(".guessing")
    loss = one.page.get_by_role("slider", name="Trained with")
    before = one.page.inner_text(".trained p >> nth=1")
    loss.press("End")
    assert loss.get_attribute("aria-valuetext") == "adversarial"
    assert one.page.inner_text(".trained p >> nth=1") != before


def test_noise_is_played_backwards(open_page: Any) -> None:
    one = opened(open_page, 5)
    noise = one.page.get_by_role("slider", name="Noise")
    noise.press("End")
    wait(one.page)
    alone = one.page.evaluate(LEVELS, ".lesson .stage canvas")
    one.page.get_by_role("button", name="Play from noise to image").click()
    for _ in range(200):
        if noise.input_value() == "0":
            break
        one.page.wait_for_timeout(100)
    wait(one.page)
    assert noise.input_value() == "0" and one.page.evaluate(LEVELS, ".lesson .stage canvas") != alone
    assert "times fewer" in one.page.inner_text(".costs")


def test_every_lesson_fits_and_is_readable(open_page: Any) -> None:
    for phone, scheme in ((False, "light"), (True, "dark"), (True, "light")):
        one = opened(open_page, phone=phone, color_scheme=scheme)
        for number in range(1, len(TITLES) + 1):
            one.page.get_by_role("button", name=f"Lesson {number}").click()
            one.page.wait_for_selector(f".lesson h2:has-text('{TITLES[number - 1]}')")
            wait(one.page)
            assert one.page.evaluate(CONTRAST) == [], (scheme, phone, number)
            assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (phone, number)
