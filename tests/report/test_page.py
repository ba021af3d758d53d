import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from example_report import HOSTILE, image, report, shown
from jinja2 import UndefinedError
from refusals import lacks, refuses

from vaekit.comparison.records import Comparison, Estimate, Report, ShownImage
from vaekit.errors import CannotWrite
from vaekit.metrics.measure import Measure
from vaekit.report.page import compose, environment, write_report
from vaekit.report.ranking import candidates, difference
from vaekit.report.tables import best_value

VOID = {"meta", "link", "img", "input", "line", "circle", "path"}


class Balanced(HTMLParser):
    """Refuses a page whose elements are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.titles: list[str | None] = []
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.titles.append(dict(attrs).get("title"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


def test_a_page_and_its_numbers_lie_beside_each_other(tmp_path: Path) -> None:
    one = report()
    beside = write_report(one, shown(one), tmp_path / "new" / "kodak.html")
    assert beside == tmp_path / "new" / "kodak.json"
    assert {path.name for path in beside.parent.iterdir()} == {"kodak.html", "kodak.json"}
    numbers = json.loads(beside.read_text("utf-8"))
    assert [judged["name"] for judged in numbers["candidates"]] == ["first", "second"]
    assert [found["name"] for found in numbers["shown"]] == ["a.png", "b.png"]
    assert numbers["shown"][0]["crops"]["worst"]["candidate"] == "second"
    page = (tmp_path / "new" / "kodak.html").read_text("utf-8")
    inside = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)
    assert inside is not None and json.loads(inside[1]) == numbers


def test_a_name_in_this_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(report(), (), Path("report.HTM"))
    assert {path.name for path in tmp_path.iterdir()} == {"report.HTM", "report.json"}


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with refuses(CannotWrite, ".html"):
        write_report(report(), (), tmp_path / "report.json")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_when_a_image_fails(tmp_path: Path) -> None:
    one = report()
    (tmp_path / "report.html").write_text("old")
    torn = ShownImage("a.png", image(), {"first": image(64, 64)}, "")
    with refuses(ValueError, "64, 64"):
        write_report(one, [torn], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


def test_images_are_asked_for_one_at_a_time() -> None:
    one, alive = report(images=tuple(f"{i}.png" for i in range(4))), []

    def images() -> Iterator[ShownImage]:
        for i, each in enumerate(shown(one)):
            alive.append(i)
            yield each

    compose(one, images())
    assert alive == [0, 1, 2, 3]


def test_hostile_names_are_only_text() -> None:
    one = report((HOSTILE, "日本語\udcff" + "x" * 300), (HOSTILE, "b"))
    nasty = replace(
        one,
        protocol={HOSTILE: {HOSTILE: [HOSTILE]}},
        skipped=tuple(replace(each, name=HOSTILE, reason=HOSTILE) for each in one.skipped),
        measures=tuple(
            replace(each, title=HOSTILE, about=HOSTILE, unit=HOSTILE, group=HOSTILE) for each in one.measures
        ),
        candidates=tuple(
            replace(
                each,
                reason=HOSTILE,
                verdict=(HOSTILE, HOSTILE),
                defects=tuple(
                    replace(defect, name=HOSTILE, unit=HOSTILE, evidence=HOSTILE)
                    for defect in one.candidates[1].defects
                ),
            )
            for each in one.candidates
        ),
    )
    page, numbers = compose(nasty, shown(nasty))
    page.encode("utf-8")
    seen = parsed(page).seen
    assert seen.count("script") == 2
    plain_page, _ = compose(one, shown(one))
    assert seen.count("img") == parsed(plain_page).seen.count("img")
    assert numbers["candidates"][0]["name"] == HOSTILE


def test_nothing_inside_the_numbers_ends_their_script() -> None:
    one = report((HOSTILE + "<!--", "b"))
    page, numbers = compose(one, shown(one))
    inside = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)
    assert inside is not None and "<" not in inside[1] and json.loads(inside[1]) == numbers


def test_characters_that_html_or_utf8_cannot_hold_are_replaced() -> None:
    one = report(("caf\udce9\0\x1b[31m \t日本語 🙂", "b"))
    page, _ = compose(replace(one, protocol={"path": Path("\udce9"), "list": ["\0"]}), shown(one))
    page.encode("utf-8")
    assert "caf\ufffd\ufffd\ufffd[31m \t日本語 🙂" in page
    assert "\0" not in page and "<dd>\ufffd</dd>" in page


def test_text_is_escaped_once_in_text_and_attributes() -> None:
    one = report((HOSTILE,))
    page, _ = compose(one, ())
    seen = parsed(page)
    assert HOSTILE in seen.titles and HOSTILE in seen.texts


def test_a_name_that_a_template_does_not_know_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ unknown }}").render()


def test_the_policy_names_the_hash_of_the_script() -> None:
    page, _ = compose(report(), ())
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page


def test_importing_the_page_imports_no_templates() -> None:
    code = "import sys, vaekit.report.page; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_names_no_address() -> None:
    page, _ = compose(report(), shown(report()))
    parsed(page)
    assert not re.findall(r"https?://|url\(|@import", page)
    assert set(re.findall(r'(?:src|href)="([^"]{5})', page)) <= {"data:"}
    assert "default-src 'none'" in page


@pytest.mark.parametrize("count", [1, 2, 6, 8])
def test_any_number_of_sets(count: int) -> None:
    one = report([f"set {i}" for i in range(count)])
    page, _ = compose(one, shown(one))
    parsed(page)
    assert page.count('class="lens"') == 2 * 2 * (count + 1)
    assert ('id="comparisons"' in page) == (count > 1)


def test_a_report_of_nothing_is_a_page() -> None:
    page, numbers = compose(Report((), (), (), (), {}), ())
    parsed(page)
    assert numbers["candidates"] == []


def test_a_image_that_a_set_lacks_is_shown_without_it() -> None:
    one = report()
    page, numbers = compose(one, [ShownImage("a.png", image(), {"second": image(seed=3)}, "")])
    parsed(page)
    assert page.count('class="view"') == 2 and len(numbers["shown"][0]["clipped"]) == 2


def test_images_without_reconstructions_and_with_what_is_not_a_number() -> None:
    one = report()
    broken = image(seed=1)
    broken[0, 0, 5, 5] = torch.nan
    pages = [
        ShownImage("a.png", image(), {}, ""),
        ShownImage("b.png", image(1, 1), {"first": image(1, 1)}, ""),
    ]
    page, numbers = compose(one, [*pages, ShownImage("c", image(), {"first": broken}, "")])
    parsed(page)
    assert "1 pixel is NaN" in page and numbers["shown"][2]["nan_pixels"] == {"first": 1}


def words(one: Comparison, measure: Measure) -> str:
    compared = report()
    view = difference(compared, {each.name: each for each in candidates(compared)}, one, measure)
    context = {"ranking": (), "pairs": (), "more_pairs": ()}
    html = environment().get_template("_ranking.html.j2").make_module(context).sentence(view)
    return unescape(re.sub("<[^>]+>", "", html)).replace("\u202f", " ")


def test_comparisons_in_words() -> None:
    higher = Measure("psnr", "PSNR", "dB", "higher", "", "fidelity")
    lower = replace(higher, title="LPIPS", unit="", better="lower")
    a, b = "first", "second"
    won = words(Comparison("psnr", a, b, 2.1, 1.8, 2.4, 0.001), higher)
    assert not lacks(won, "A", "first", "PSNR", "2.10 dB [1.80, 2.40]", "p = 0.001")
    lost = words(Comparison("psnr", a, b, -2.1, -2.4, -1.8, 0.0001), higher)
    assert lost == "B second better: PSNR higher by 2.10 dB [1.80, 2.40], p < 0.001"
    assert "A first better: LPIPS lower by 0.050" in words(Comparison("lpips", a, b, -0.05, -0.06, -0.04, 0.01), lower)
    assert "no significant difference: PSNR of first higher by" in words(
        Comparison("psnr", a, b, 0.1, -0.2, 0.4, 0.4), higher
    )
    assert "no difference: PSNR, 0.0" in words(Comparison("psnr", a, b, 0.0, 0.0, 0.0, 1.0), higher)
    neutral = replace(higher, title="Colors", better=None)
    assert "better" not in words(Comparison("psnr", a, b, 3.0, 2.0, 4.0, 0.01), neutral)
    chroma = replace(higher, name="chroma", title="Chroma bias", unit="%", better="zero")
    nearer = words(Comparison("chroma", a, b, -5.0, -6.0, -4.0, 0.01), chroma)
    assert not lacks(nearer, "A", "first", "Chroma bias", "5.0 %")


def test_the_best_value_is_marked_where_there_is_one() -> None:
    one = report()
    psnr, lpips, chroma, colors = one.measures
    assert best_value(one, psnr, 1) == "30.0" and best_value(one, lpips, 2) == "0.10"
    assert best_value(one, chroma, 1) == "\N{MINUS SIGN}2.0" and best_value(one, colors, 0) is None
    same = replace(one, candidates=tuple(replace(each, measures={"psnr": Estimate(30.01)}) for each in one.candidates))
    assert best_value(same, psnr, 1) is None
