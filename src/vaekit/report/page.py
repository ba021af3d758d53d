"""Write a report: a self-contained HTML page, and its values as JSON beside it."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaekit.atomic import atomic_file, atomic_group
from vaekit.comparison.records import Report, ShownImage
from vaekit.errors import CONTROL, CannotWrite, printable
from vaekit.json import dumps, dumps_plain, plain
from vaekit.report.embedding import QUALITY, SMALL
from vaekit.report.players import PlayedItem, players
from vaekit.report.plots import spectrum_plot
from vaekit.report.ranking import candidates, comparisons, ranking
from vaekit.report.scripts import script, text_of
from vaekit.report.shown_image import SCALES, examine, image_view, values_of
from vaekit.report.tables import measures_table
from vaekit.version import __version__

if TYPE_CHECKING:
    import jinja2

VERSION = 2
"""The version of the keys of the JSON file. Version 1 had `sets` instead of `candidates`, and no version."""
STYLES = ("theme", "verdict", "images", "page")
"""Style sheets of every page."""
ENDINGS = (".html", ".htm")
NOT_IN_HTML = re.compile(f"(?![\t\n\r]){CONTROL.pattern}")
"""Control characters, which HTML does not allow, overrides of the direction of text, which would reach beyond a name,
and lone surrogates, which UTF-8 cannot encode."""


def write_report(report: Report, shown: Iterable[ShownImage], path: Path, played: Iterable[PlayedItem] = ()) -> Path:
    """Write the page to `path`, and beside it, under the same stem, a JSON file with the same values.

    Both are written or neither. The page opens from disk and makes no network requests. Its content security policy
    contains the hashes of its scripts, so that no other can run.

    Args:
        shown: the images on the page, consumed one at a time.
        played: items to listen to on the page.
        path: ends in `.html` or `.htm`.

    Returns:
        The path of the JSON file.

    Raises:
        CannotWrite: the path has another extension, the folder is not writable, or the disk is full.
        ValueError: a reconstruction has another size than its original.
    """
    path = path.absolute()
    beside = json_beside(path)
    with atomic_group(path.parent) as folder:
        page, values = compose(report, shown, played)
        (folder / path.name).write_text(page, encoding="utf-8", newline="\n")
        (folder / beside.name).write_text(dumps(values) + "\n", encoding="utf-8", newline="\n")
    return beside


def json_beside(path: Path) -> Path:
    """The path of the JSON file of the page at `path`. Call it before measuring to reject an invalid path early.

    Raises:
        CannotWrite: the path does not end in `.html` or `.htm`.
    """
    if path.suffix.lower() not in ENDINGS:
        raise CannotWrite(
            f"{printable(str(path))} does not end in .html.",
            "A report is an HTML page, with its values beside it in a .json file.",
            "Use a name such as report.html.",
        )
    return path.with_suffix(".json")


def compose(
    report: Report, shown: Iterable[ShownImage], played: Iterable[PlayedItem] = ()
) -> tuple[str, dict[str, Any]]:
    """The page, and its values in JSON types.

    Raises:
        ValueError: a reconstruction has another size than its original.
    """
    shown_values: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for image in shown:
        examined = examine(report, image)
        shown_values.append(values_of(report, examined))
        images.append(image_view(report, examined))
    values = {"version": VERSION, **plain(report), "shown": plain(shown_values)}
    near, far = comparisons(report)
    main, embedded = script("page.js"), players(played)
    listening = text_of("players.js") if embedded else ""
    page = (
        environment()
        .get_template("page.html.j2")
        .render(
            candidates=candidates(report),
            report=report,
            count=max((len(each.images) for each in report.candidates), default=0),
            ranking=ranking(report),
            pairs=near,
            more_pairs=far,
            groups=measures_table(report),
            spectrum=spectrum_view(report),
            images=images,
            scales=SCALES,
            lossy_beyond=SMALL,
            quality=QUALITY,
            version=__version__,
            style=style(*STYLES, *(("players",) if embedded else ())),
            script=main,
            script_hash=hash_of(main),
            played=embedded,
            listening=listening,
            listening_hash=hash_of(listening),
            numbers=values,
        )
    )
    return page, values


def spectrum_view(report: Report) -> dict[str, Any] | None:
    """The spectra of latents for the template; None if there are none."""
    plot = spectrum_plot([one.spectrum for one in report.candidates])
    known = candidates(report)
    return None if plot is None else {**vars(plot), "candidates": [known[i] for i in plot.positions]}


@lru_cache(maxsize=1)
def environment() -> "jinja2.Environment":
    """The templates, strict: all text is escaped, and an undefined name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def printable(value: object) -> str:
        return value if isinstance(value, Markup) else NOT_IN_HTML.sub("\N{REPLACEMENT CHARACTER}", str(value))

    environment = Environment(
        loader=PackageLoader("vaekit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_function"] = dumps_plain
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    return environment


def hash_of(script: str) -> str:
    """The hash of a script, as a content security policy names it; empty for no script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() if script else ""


def write_static_page(name: str, path: Path, styles: Sequence[str] = (), script: str = "", **values: Any) -> None:
    """Write a self-contained HTML page, which opens from disk, makes no request, and runs at most the given script.

    Args:
        name: of the template and its style: `search` for `search.html.j2` and `search.css`.
        path: the page.
        styles: the names of further styles.
        script: the text of its only script; empty for none.
        values: of the template.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    template = environment().get_template(f"{name}.html.j2")
    page = template.render(
        version=__version__, style=style(*STYLES, name, *styles), script=script, script_hash=hash_of(script), **values
    )
    with atomic_file(path) as part:
        part.write_text(page, encoding="utf-8", newline="\n")


def style(*names: str) -> str:
    """The text of style sheets, in this order."""
    return "".join(text_of(f"{name}.css") for name in names)
