"""One shown picture on the page: the slider, the crops, where it differs, its tones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaekit.report.crops import MARGIN, Levels, Window, Worst, busiest_window, worst_window
from vaekit.report.embedding import Differences, Embedded, differences, exact, levels_of, photograph, thumbnail
from vaekit.report.html import Markup, foreign, joined, tag
from vaekit.report.numerals import number, share
from vaekit.report.plots import histogram
from vaekit.report.ranking import badge, key_measures, set_name
from vaekit.report.records import Report, ShownPicture
from vaekit.report.tables import picture_numbers, scrolling
from vaekit.report.tones import CHANNELS, Histogram, histograms

TIMES = "\N{MULTIPLICATION SIGN}"
ORIGINAL = "original"
"""What the page's script calls the original; sets are called by their number."""


@dataclass(frozen=True, eq=False)
class Examined:
    """A shown picture, and all that was found in it."""

    picture: ShownPicture
    original: Levels
    sets: Mapping[int, Levels]
    """By position among the report's sets."""
    worst: Worst | None
    busiest: Window
    tones: Mapping[str | int, Mapping[str, Histogram]]
    not_numbers: Mapping[str, int]
    """Sets that have pixels which are not numbers, and how many."""


def examine(report: Report, picture: ShownPicture) -> Examined:
    """Find what the page shows. Reconstructions of sets that the report does not judge are left out.

    Raises:
        ValueError: a reconstruction has another size than the original.
    """
    original, _ = levels_of(picture.original)
    sets: dict[int, Levels] = {}
    not_numbers: dict[str, int] = {}
    for i, judged in enumerate(report.sets):
        if judged.name not in picture.reconstructions:
            continue
        sets[i], broken = levels_of(picture.reconstructions[judged.name])
        if sets[i].shape != original.shape:
            raise ValueError(f"{picture.name}: {sets[i].shape[:2]} of {judged.name!r} against {original.shape[:2]}")
        if broken:
            not_numbers[judged.name] = broken
    tones: dict[str | int, Mapping[str, Histogram]] = {ORIGINAL: histograms(original)}
    tones |= {i: histograms(levels) for i, levels in sets.items()}
    worst = worst_window(original, {report.sets[i].name: levels for i, levels in sets.items()})
    return Examined(picture, original, sets, worst, busiest_window(original), tones, not_numbers)


def told(report: Report, found: Examined) -> dict[str, Any]:
    """The numbers of a shown picture, for the JSON file."""
    height, width = found.original.shape[:2]
    clipped = {
        ORIGINAL if key == ORIGINAL else report.sets[int(key)].name: {
            channel: {"black": one.black, "white": one.white} for channel, one in tones.items()
        }
        for key, tones in found.tones.items()
    }
    worst = None
    if found.worst is not None:
        worst = {**vars(found.worst.window), "set": found.worst.set_name, "rms_error": found.worst.rms_error}
    return {
        "name": found.picture.name,
        "why": found.picture.why,
        "width": width,
        "height": height,
        "crops": {"worst": worst, "busiest": vars(found.busiest)},
        "clipped": [{"of": name, "channels": channels} for name, channels in clipped.items()],
        "not_numbers": found.not_numbers,
    }


def picture_tab(position: int, found: Examined) -> Markup:
    """The button that shows this picture."""
    small = thumbnail(found.original)
    image = tag("img", src=small.address, width=small.width, height=small.height, alt="")
    caption = tag("span", foreign(found.picture.name))
    return tag("button", image, caption, type="button", data_picture=position, aria_pressed="false")


def picture_section(report: Report, position: int, found: Examined) -> Markup:
    """All that the page shows of one picture."""
    height, width = found.original.shape[:2]
    large = {ORIGINAL: photograph(found.original)} | {i: photograph(levels) for i, levels in found.sets.items()}
    reduced = large[ORIGINAL].width < width
    size = f"{width} {TIMES} {height} pixels"
    if reduced:
        size += f", shown as {large[ORIGINAL].width} {TIMES} {large[ORIGINAL].height}"
    broken = [
        tag("p", foreign(name), f": {count:,} pixels are not numbers; they are shown in magenta.", class_="warning")
        for name, count in found.not_numbers.items()
    ]
    return tag(
        "article",
        tag("header", tag("h3", foreign(found.picture.name)), tag("p", size, " · ", found.picture.why)),
        broken,
        _slider(report, found, large),
        picture_numbers(report, found.picture.name, key_measures(report)),
        _closer(report, found),
        _differences(report, found),
        _tones(report, found),
        class_="picture",
        id=f"picture-{position}",
        data_width=width,
        data_height=height,
    )


def _caption(report: Report, key: str | int) -> Markup:
    if key == ORIGINAL:
        return tag("span", tag("span", "O", class_="badge original"), " ", tag("span", "Original", class_="set-name"))
    return tag("span", set_name(int(key), report.sets[int(key)]))


def _slider(report: Report, found: Examined, large: Mapping[Any, Embedded]) -> Markup:
    views = [
        tag(
            "figure",
            tag("img", src=one.address, width=one.width, height=one.height, alt="", draggable="false"),
            tag("figcaption", _caption(report, key)),
            class_="view",
            data_key=key,
        )
        for key, one in large.items()
    ]
    divider = tag(
        "div",
        class_="divider",
        role="slider",
        tabindex=0,
        aria_orientation="horizontal",
        aria_valuemin=0,
        aria_valuemax=100,
        aria_valuenow=50,
        aria_label="Divider between the two pictures",
    )
    marks = [
        tag(
            "div",
            tag("span", name),
            class_="mark",
            data_place=name,
            data_x=place.x,
            data_y=place.y,
            data_width=place.width,
            data_height=place.height,
        )
        for name, place in _places(found)
    ]
    sides = tag("p", tag("span", class_="left"), tag("span", class_="right"), class_="sides", aria_hidden="true")
    return tag("div", tag("div", views, marks, divider, class_="slider"), sides, class_="compare")


def _places(found: Examined) -> list[tuple[str, Window]]:
    worst = [("worst", found.worst.window)] if found.worst else []
    return [*worst, ("busiest", found.busiest)]


def _closer(report: Report, found: Examined) -> Markup:
    pictures: dict[str | int, Levels] = {ORIGINAL: found.original}
    pictures |= found.sets.items()
    groups = []
    for name, window in _places(found):
        around = window.grown(MARGIN, found.original)
        lenses = [_lens(_caption(report, key), key, exact(around.of(levels))) for key, levels in pictures.items()]
        groups.append(
            tag(
                "div",
                tag("p", _where(report, found, name, window), class_="where"),
                tag("div", lenses, class_=f"lenses columns-{_columns(len(lenses))}"),
                class_="place",
                data_place=name,
                data_x=window.x,
                data_y=window.y,
                data_width=window.width,
                data_height=window.height,
                data_left=around.x,
                data_top=around.y,
            )
        )
    return tag("section", tag("h4", "Closer"), tag("div", class_="tools zoom-tools"), groups, class_="closer")


def _where(report: Report, found: Examined, name: str, window: Window) -> Markup:
    at = f"{window.width} {TIMES} {window.height} pixels from ({window.x}, {window.y})"
    if name == "worst" and found.worst is not None:
        names = [judged.name for judged in report.sets]
        who = badge(names.index(found.worst.set_name))
        return joined(
            f"Worst: where the squared error of any set is largest. {at}; ",
            who,
            f" is off by {number(found.worst.rms_error, 1)} levels (RMS).",
        )
    return joined(f"Busiest: where the original's gradients have the most energy. {at}.")


def _columns(count: int) -> int:
    """So that rows are full, or nearly, where there is room."""
    return min(count, 4) if count not in (5, 6) else 3


def _lens(caption: Markup, key: str | int, one: Embedded) -> Markup:
    image = tag("img", src=one.address, width=one.width, height=one.height, alt="", draggable="false")
    window = tag("div", image, tag("i", class_="cross", hidden=True), class_="window", tabindex=0, role="img")
    return tag("figure", window, tag("figcaption", caption, tag("span", class_="reading")), class_="lens", data_key=key)


def _differences(report: Report, found: Examined) -> Markup | None:
    maps = {i: differences(found.original, levels) for i, levels in found.sets.items()}
    if not maps:
        return None
    block = next(iter(maps.values())).block
    grain = "each dot is one pixel" if block == 1 else f"each dot is the mean of {block} {TIMES} {block} pixels"
    figures = [
        tag(
            "figure",
            tag(
                "canvas",
                width=one.embedded.width,
                height=one.embedded.height,
                role="img",
                aria_label="Map of signed differences",
            ),
            tag("img", src=one.embedded.address, alt="", hidden=True),
            tag("figcaption", _caption(report, i), tag("span", class_="reading")),
            class_="map",
            style=f"--aspect: {one.embedded.width / one.embedded.height:.4f}",
            data_key=i,
        )
        for i, one in maps.items()
    ]
    legend = tag(
        "div",
        tag("div", [tag("i") for _ in range(5)], class_="stops"),
        tag("div", class_="ramp"),
        tag("div", tag("span", class_="low"), tag("span", "0"), tag("span", class_="high"), class_="ends"),
        class_="legend",
    )
    return tag(
        "section",
        tag("h4", "Where it differs"),
        tag("p", f"Reconstruction minus original, in levels of 255; {grain}.", class_="where"),
        tag("div", tag("div", class_="tools map-tools"), legend, class_="map-bar"),
        tag("div", figures, class_="maps"),
        class_="differences",
        data_block=block,
        data_scale=scale_for(list(maps.values())),
    )


SCALES = (4, 8, 16, 32, 64)
"""Levels at the ends of the colour scale."""


def scale_for(maps: Sequence[Differences]) -> int:
    """The smallest scale that holds 90 % of all sets' dots."""
    largest = max(one.typical for one in maps)
    return next((scale for scale in SCALES if scale >= largest), SCALES[-1])


def _tones(report: Report, found: Examined) -> Markup:
    drawings = []
    for channel in CHANNELS:
        sets = {int(key): tones[channel] for key, tones in found.tones.items() if key != ORIGINAL}
        drawing = histogram(found.tones[ORIGINAL][channel], sets, channel)
        axis = tag("div", [tag("span", level) for level in (0, 64, 128, 192, 255)], class_="axis", aria_hidden="true")
        drawings.append(tag("figure", tag("figcaption", channel.capitalize()), drawing, axis, class_="tone"))
    heads = [tag("th", channel.capitalize(), colspan=2, scope="colgroup") for channel in CHANNELS]
    ends = [tag("th", level, scope="col", class_="number") for _ in CHANNELS for level in ("at 0", "at 255")]
    rows = [
        tag(
            "tr",
            tag("th", _caption(report, key), scope="row"),
            [
                tag("td", share(part), class_="number")
                for channel in CHANNELS
                for part in (tones[channel].black, tones[channel].white)
            ],
        )
        for key, tones in found.tones.items()
    ]
    head = tag("thead", tag("tr", tag("td", rowspan=2), heads), tag("tr", ends))
    table = tag(
        "table", tag("caption", "Clipped: share of pixels at the ends"), head, tag("tbody", rows), class_="clipped"
    )
    return tag(
        "section",
        tag("h4", "Tones"),
        tag(
            "p",
            "How many pixels have each level: the original as an area, the chosen reconstructions as lines.",
            class_="where",
        ),
        tag("div", drawings, class_="tones-grid"),
        scrolling(table, "Clipped shares"),
        class_="tones",
    )
