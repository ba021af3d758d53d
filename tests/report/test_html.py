from html.parser import HTMLParser

from example_report import HOSTILE

from vaekit.report.html import Markup, encodable, foreign, joined, tag


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_and_attributes_are_escaped_once() -> None:
    one = tag("p", HOSTILE, title=HOSTILE)
    seen = Seen()
    seen.feed(tag("div", one))
    assert seen.tags == [("div", []), ("p", [("title", HOSTILE)])]
    assert seen.text == HOSTILE


def test_lists_and_nothing() -> None:
    assert joined(None, ["a", [Markup("<b>"), 1]], ()) == "a<b>1"


def test_names_that_are_not_utf8_can_be_written() -> None:
    assert foreign("caf\udce9 \ud800").encode() == "<bdi>caf\ufffd \ufffd</bdi>".encode()
    assert encodable("日本語 🙂") == "日本語 🙂"
