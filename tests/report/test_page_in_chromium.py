"""The page as a reader meets it: opened from disk in headless Chromium."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from example_report import HOSTILE, report, shown

from vaekit.report.page import write_report

nightly = pytest.mark.nightly
NAMES = ("first", HOSTILE, "a-very-long-name-" * 8, "日本語", "fifth", "sixth")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    two, six = report(), report(NAMES, ("a.png", HOSTILE, "c.png"))
    write_report(two, shown(two, 192, 256), folder / "two.html")
    write_report(six, shown(six, 192, 256), folder / "six.html")
    return folder


@dataclass
class Opened:
    """A page, and what it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)

    def now(self) -> int:
        return int(self.page.locator(".current .divider").get_attribute("aria-valuenow"))

    def transforms(self) -> set[str]:
        images = "[...document.querySelectorAll('.current .place.current .window img')]"
        return set(self.value(f"{images}.map(image => image.style.transform)"))


class Opener:
    """Opens pages, and in the end finds that none complained and none asked the network for anything."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.opened: list[Opened] = []

    def __call__(self, name: str = "two.html", width: int = 1280, height: int = 900, **options: Any) -> Opened:
        context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.said.append(message.text))
        one.page.on("pageerror", lambda error: one.said.append(str(error)))
        one.page.on("request", lambda request: one.asked.append(request.url))
        one.page.goto((self.folder / name).as_uri())
        one.page.wait_for_selector(".image.current.drawn")
        self.opened.append(one)
        return one

    def close(self) -> None:
        for one in self.opened:
            one.page.wait_for_timeout(50)
            assert one.said == []
            assert [address for address in one.asked if not address.startswith("data:")] == [one.page.url]
            one.page.context.close()


@pytest.fixture
def open_page(browser: Any, written: Path) -> Iterator[Opener]:
    opener = Opener(browser, written)
    yield opener
    opener.close()


@pytest.mark.nightly
def test_pages_open_without_a_complaint_or_a_request(open_page: Opener) -> None:
    for name in ("two.html", "six.html"):
        one = open_page(name)
        assert one.page.locator("article.image:visible").count() == 1
        assert len(one.transforms()) == 1


@nightly
def test_the_slider_follows_the_pointer(open_page: Opener) -> None:
    one = open_page()
    assert one.now() == 50
    slider = one.page.locator(".current .slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    one.page.mouse.move(box["x"] + box["width"] / 2, y)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + box["width"] / 4, y, steps=4)
    assert one.now() == pytest.approx(25, abs=1)
    one.page.mouse.move(box["x"] - 50, y)
    assert one.now() == 0
    one.page.mouse.up()
    one.page.mouse.move(box["x"] + box["width"] / 2, y)
    assert one.now() == 0
    assert one.value("document.querySelector('.current .slider').style.getPropertyValue('--split')") == "0%"


@nightly
def test_the_slider_obeys_the_keyboard(open_page: Opener) -> None:
    one = open_page()
    divider = one.page.locator(".current .divider")
    assert divider.get_attribute("role") == "slider"
    divider.focus()
    for key, value in (("ArrowRight", 51), ("Shift+ArrowRight", 61), ("PageDown", 51), ("Home", 0), ("ArrowLeft", 0)):
        one.page.keyboard.press(key)
        assert one.now() == value, key
    one.page.keyboard.press("End")
    assert one.now() == 100 and divider.get_attribute("aria-valuetext") == "100 % Original, 0 % first"


@nightly
def test_both_sides_can_be_any_set(open_page: Opener) -> None:
    one = open_page()
    assert one.page.locator(".current .view.right").get_attribute("data-key") == "0"
    one.page.get_by_role("group", name="Right").get_by_role("radio", name="second").check()
    one.page.get_by_role("group", name="Left").get_by_role("radio", name="first").check()
    assert one.page.locator(".current .view.left").get_attribute("data-key") == "0"
    assert one.page.locator(".current .view.right").get_attribute("data-key") == "1"
    assert one.page.locator(".current .divider").get_attribute("aria-label") == "Divider: first left, second right"
    assert one.page.locator(".current .histogram.red .line:visible").count() == 2


@nightly
def test_lenses_move_and_zoom_together(open_page: Opener) -> None:
    one = open_page()
    before = one.transforms()
    assert len(before) == 1 and "scale(4)" in before.pop()
    one.page.get_by_role("button", name="Zoom in").first.click()
    (zoomed,) = one.transforms()
    assert "scale(6)" in zoomed
    lens = one.page.locator(".current .place.current .window").nth(1)
    lens.scroll_into_view_if_needed()
    box = lens.bounding_box()
    one.page.mouse.move(box["x"] + 100, box["y"] + 100)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + 60, box["y"] + 130, steps=3)
    one.page.mouse.up()
    (dragged,) = one.transforms()
    assert dragged != zoomed
    lens.focus()
    one.page.keyboard.press("ArrowRight")
    (moved,) = one.transforms()
    assert moved != dragged
    one.page.keyboard.press("0")
    assert "scale(4)" in one.transforms().pop()
    one.page.get_by_role("radio", name="Most detail").check()
    assert one.page.locator(".place.current").first.get_attribute("data-place") == "busiest"
    one.page.get_by_role("radio", name="Whole image").check()
    one.page.wait_for_function("document.querySelector('.place.current .window img').naturalWidth === 256")
    assert len(one.transforms()) == 1


@nightly
def test_the_pixel_under_the_pointer_is_told_exactly(open_page: Opener) -> None:
    one = open_page()
    lens = one.page.locator(".current .place.current .window").first
    lens.hover(position={"x": 150, "y": 150})
    told = one.page.locator(".current .place.current .reading").all_inner_texts()
    (transform,) = one.transforms()
    left, top = (float(part.strip(" px")) for part in transform.split("(")[1].split(")")[0].split(","))
    place = one.page.locator(".current .place.current")
    x = int(place.get_attribute("data-left")) + int((150 - left) // 4)
    y = int(place.get_attribute("data-top")) + int((150 - top) // 4)
    first = next(shown(report(), 192, 256))
    images = [first.original, *first.reconstructions.values()]
    levels = [((pixels[0, :, y, x] + 1) * 127.5).round().int().tolist() for pixels in images]
    assert told == [" ".join(map(str, level)) for level in levels]


@nightly
def test_another_image(open_page: Opener) -> None:
    one = open_page("six.html")
    assert one.page.locator("article.image:visible").count() == 1
    one.page.locator(".thumbnails button").nth(1).click()
    assert one.page.locator("article.image:visible").get_attribute("id") == "image-1"
    assert one.page.locator(".thumbnails [aria-pressed=true]").count() == 1
    one.page.wait_for_selector("#image-1.drawn")
    assert len(one.transforms()) == 1


@nightly
def test_maps_are_drawn_again_for_channel_scale_and_theme(open_page: Opener) -> None:
    one = open_page()
    script = "document.querySelector('.current .map canvas').toDataURL()"
    looks = [one.value(script)]

    def changed() -> None:
        one.page.wait_for_function(f"before => {script} !== before", arg=looks[-1])
        looks.append(one.value(script))

    one.page.get_by_role("group", name="Channel").get_by_role("radio", name="R", exact=True).first.check()
    changed()
    one.page.get_by_role("radio", name="±64").first.check()
    changed()
    assert one.page.locator(".current .legend .high").inner_text() == "+64 brighter"
    one.page.get_by_role("radio", name="Dark").check()
    changed()
    one.page.locator(".current .map canvas").first.hover()
    assert " at (" in one.page.locator(".current .map .reading").nth(1).inner_text()


@nightly
def test_the_theme_follows_the_system_and_the_switch(open_page: Opener) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    colors = light.value(ground), dark.value(ground)
    assert colors[0] != colors[1]
    dark.page.get_by_role("radio", name="Light").check()
    light.page.get_by_role("radio", name="Dark").check()
    assert (light.value(ground), dark.value(ground)) == colors[::-1]
    dark.page.get_by_role("radio", name="Auto").check()
    assert dark.value(ground) == colors[1]


@nightly
def test_evidence_of_a_defect_shows_on_hover_and_focus(open_page: Opener) -> None:
    one = open_page()
    evidence = one.page.get_by_text("Seen in a.png.")
    assert not evidence.is_visible()
    chip = one.page.locator(".chip")
    chip.hover()
    assert evidence.is_visible()
    one.page.mouse.move(0, 0)
    chip.focus()
    assert evidence.is_visible()
    one.page.keyboard.press("Escape")
    assert not evidence.is_visible()


@nightly
@pytest.mark.parametrize("name", ["two.html", "six.html"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(open_page: Opener, name: str, width: int) -> None:
    one = open_page(name, width=width)
    one.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert one.value("document.documentElement.scrollWidth") <= width
    for each in one.page.locator(".current .slider, .current .window:visible, .current canvas").all():
        box = each.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["width"] >= 60


@nightly
def test_the_slider_follows_a_finger(open_page: Opener) -> None:
    one = open_page(width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
    slider = one.page.locator(".current .slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    one.page.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert one.now() == pytest.approx(75, abs=1)
    assert one.value("document.documentElement.scrollWidth") == 390


@nightly
def test_hostile_names_do_nothing(open_page: Opener) -> None:
    one = open_page("six.html")
    assert one.page.title() == "VAE report: " + ", ".join(NAMES)
    assert one.page.locator(".ranking h3 bdi").all_inner_texts()[1] == HOSTILE
    one.page.get_by_role("group", name="Right").get_by_role("radio").nth(2).check()
    assert HOSTILE in one.page.locator(".current .sides .right").inner_text()
    assert one.page.locator(".current .view.right").get_attribute("data-key") == "1"


@nightly
def test_injected_scripts_do_not_run(open_page: Opener) -> None:
    one = open_page()
    made = "Object.assign(document.createElement('script'), {textContent: 'window.taken = 1'})"
    one.value(f"document.body.append({made})")
    assert one.value("window.taken") is None
    assert any("Content Security Policy" in text for text in one.said)
    one.said.clear()


@nightly
def test_the_numbers_can_be_saved(open_page: Opener, written: Path) -> None:
    one = open_page()
    with one.page.expect_download() as waiting:
        one.page.get_by_text("Save the results").click()
    saved = Path(waiting.value.path()).read_text("utf-8")
    assert json.loads(saved) == json.loads((written / "two.json").read_text("utf-8"))
    one.asked = [address for address in one.asked if not address.startswith("blob:")]


@nightly
def test_without_scripts_everything_is_there(browser: Any, written: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.goto((written / "two.html").as_uri())
    assert page.locator("article.image:visible").count() == 2
    assert page.locator(".view img:visible").count() == 6
    context.close()


@nightly
def test_on_paper_all_images_are_shown(open_page: Opener) -> None:
    one = open_page()
    one.page.emulate_media(media="print")
    one.value("dispatchEvent(new Event('beforeprint'))")
    assert one.page.locator("article.image:visible").count() == 2
    assert not one.page.locator(".thumbnails").is_visible()
    assert one.page.pdf().startswith(b"%PDF")
