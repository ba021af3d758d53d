"""The page of a report: one HTML file that needs nothing else, and its numbers as JSON beside it."""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vaekit.errors import CannotWrite, legible
from vaekit.report.embedding import QUALITY, SMALL
from vaekit.report.html import Markup, encodable, joined, tag
from vaekit.report.json_file import as_plain, inside_script, to_json
from vaekit.report.picture_section import examine, picture_section, picture_tab, told
from vaekit.report.ranking import comparisons, ranking, set_name
from vaekit.report.records import Report, ShownPicture
from vaekit.report.tables import measures_table, protocol, skipped
from vaekit.version import __version__
from vaekit.whole_files import whole_group

ENDINGS = (".html", ".htm")


def write_report(report: Report, shown: Iterable[ShownPicture], path: Path) -> Path:
    """Write the page to `path`, and beside it, under the same stem, a JSON file with the same numbers.

    Both appear or neither does. The page opens from disk and asks no network for anything. Its only script is named by
    its hash in the page's content security policy, so that nothing else in it can run.

    Args:
        shown: the pictures on the page; each is asked for when its turn comes, and then let go.
        path: ends in `.html` or `.htm`.

    Returns:
        The path of the JSON file.

    Raises:
        CannotWrite: another ending, a folder that cannot be written to, a full disk.
        ValueError: a reconstruction has another size than its original.
    """
    path = path.absolute()
    beside = json_beside(path)
    with whole_group(path.parent) as folder:
        page, numbers = compose(report, shown)
        (folder / path.name).write_text(page, encoding="utf-8", newline="\n")
        (folder / beside.name).write_text(to_json(numbers), encoding="utf-8", newline="\n")
    return beside


def json_beside(path: Path) -> Path:
    """Where the numbers of the page at `path` go. Asked before anything is measured, it refuses early.

    Raises:
        CannotWrite: the path does not end like a page.
    """
    if path.suffix.lower() not in ENDINGS:
        raise CannotWrite(
            f"{legible(str(path))} does not end in .html.",
            "A report is a page, with its numbers beside it in a file that ends in .json.",
            "Name it like report.html.",
        )
    return path.with_suffix(".json")


def compose(report: Report, shown: Iterable[ShownPicture]) -> tuple[str, dict[str, Any]]:
    """The page and its numbers in JSON's own types.

    Raises:
        ValueError: a reconstruction has another size than its original.
    """
    facts: list[dict[str, Any]] = []
    tabs: list[Markup] = []
    sections: list[Markup] = []
    for position, picture in enumerate(shown):
        found = examine(report, picture)
        facts.append(told(report, found))
        tabs.append(picture_tab(position, found))
        sections.append(picture_section(report, position, found))
    numbers = as_plain(report, facts)
    script = _text("page.js")
    names = [judged.name for judged in report.sets]
    page = Template(_text("page.html")).substitute(
        title=tag("title", f"VAE report: {', '.join(names)}"),
        policy=_policy(script),
        style=_text("page.css"),
        script=script,
        compared=_compared(report),
        protocol=protocol(report),
        ranking=ranking(report),
        comparisons=_comparisons(report),
        measures=measures_table(report),
        pictures=_pictures(report, tabs, sections),
        skipped=skipped(report.skipped) or "",
        version=__version__,
        numbers=inside_script(numbers),
    )
    return page, numbers


def _text(name: str) -> str:
    return files("vaekit.report").joinpath(name).read_text("utf-8")


def _policy(script: str) -> str:
    """Pictures and styles from the page itself, this one script, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )


def _compared(report: Report) -> Markup:
    """One sentence: which sets, on how many pictures."""
    count = max((len(judged.pictures) for judged in report.sets), default=0)
    names: list[Markup | str] = []
    for i, judged in enumerate(report.sets):
        names += [", " if i else "", tag("span", set_name(i, judged), class_="named")]
    return tag("p", names, f" on {count:,} picture{'' if count == 1 else 's'}.", class_="compared")


def _comparisons(report: Report) -> Markup:
    pairs = comparisons(report)
    if pairs is None:
        return Markup("")
    note = (
        "Differences over the same pictures, with 95 % bootstrap intervals and p of a paired sign-flip test. "
        "Each test stands for itself: p is not corrected for their number."
    )
    return tag("section", tag("h2", "Set against set"), tag("p", note, class_="note"), pairs, id="comparisons")


def _pictures(report: Report, tabs: list[Markup], sections: list[Markup]) -> Markup:
    if not sections:
        return Markup("")
    sets = joined(
        *(
            tag("template", set_name(i, judged), data_key=i, data_name=encodable(judged.name))
            for i, judged in enumerate(report.sets)
        )
    )
    return tag(
        "section",
        tag("h2", "Pictures"),
        tag(
            "p",
            "Crops are exact, and so are the levels told for them. In the slider and in “Whole picture”, pictures "
            f"larger than {SMALL} pixels are lossy (WebP, quality {QUALITY}).",
            class_="note",
        ),
        sets,
        tag("nav", tabs, class_="film", aria_label="Pictures"),
        tag("div", class_="tools sides-tools"),
        sections,
        id="pictures",
    )
