"""The frame of the page: screens, themes, errors; readable and within the screen everywhere."""

from typing import Any

import pytest
from page_contrast import CONTRAST

SCREENS = ("look", "vaes", "walk", "learn")


@pytest.mark.parametrize("screen", SCREENS)
def test_every_screen_fits_and_is_readable(open_page: Any, screen: str) -> None:
    for phone in (False, True):
        for scheme in ("light", "dark"):
            one = open_page(screen, phone=phone, color_scheme=scheme)
            assert one.page.evaluate(CONTRAST) == [], (scheme, phone)
            assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_results_fit_and_are_readable(open_page: Any) -> None:
    for phone, scheme in ((False, "light"), (True, "dark")):
        one = open_page("look", phone=phone, color_scheme=scheme)
        one.choose("wide-16", kind="checkbox")
        one.look()
        assert one.page.evaluate(CONTRAST) == []
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_screens_are_addresses(open_page: Any) -> None:
    one = open_page("look")
    assert one.page.title() == "Look · vaekit"
    one.page.get_by_role("link", name="VAEs").click()
    one.page.wait_for_selector("#vaes")
    assert one.page.url.endswith("/#vaes") and one.page.title() == "VAEs · vaekit"
    assert one.page.locator("[aria-current=page]").inner_text() == "VAEs"
    one.page.go_back()
    one.page.wait_for_selector(".screen.look")
    one.page.reload()
    one.page.wait_for_selector(".screen.look")
    one.page.goto(one.page.url.replace("#look", "#other"))
    assert one.page.locator("[aria-current=page]").inner_text() == "Look"


def test_a_screen_keeps_its_state(open_page: Any) -> None:
    one = open_page("look")
    one.look()
    one.page.get_by_role("link", name="VAEs").click()
    one.page.wait_for_selector("#vaes")
    one.page.get_by_role("link", name="Look").click()
    assert one.page.locator(".results article.image").is_visible()


def test_the_keyboard_skips_the_navigation(open_page: Any) -> None:
    one = open_page("look")
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.className") == "skip"
    one.page.keyboard.press("Enter")
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.closest('main') !== null")
    assert one.page.locator(".screen.look").is_visible()


def test_the_theme_is_remembered(open_page: Any) -> None:
    one = open_page("look", color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = one.page.evaluate(paper)
    one.choose("Dark", group="Theme")
    dark = one.page.evaluate(paper)
    assert dark != light
    one.page.reload()
    one.page.wait_for_selector(".screen h1")
    assert one.page.evaluate(paper) == dark


def test_a_server_that_is_gone_is_reported(open_page: Any) -> None:
    one = open_page("look")
    one.page.route("**/encode", lambda route: route.abort())
    one.page.set_input_files(".look input[type=file]", one.photo)
    one.page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
    one.page.get_by_role("button", name="Dismiss").click()
    assert one.page.get_by_role("alert").inner_text() == ""
    one.said.clear()  # the browser's own message about the failed request


def test_a_busy_server_is_asked_again(open_page: Any) -> None:
    one = open_page("look")
    refused: list[str] = []

    def refuse_once(route: Any) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "busy", "message": "Later."})

    one.page.route("**/encode", refuse_once)
    one.look()
    assert len(refused) == 1
    one.said.clear()
