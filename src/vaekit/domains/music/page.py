"""An HTML page with players: excerpts with their piano rolls, in rows, complete in one file."""

import base64
from collections.abc import Sequence
from html import escape

from vaekit.domains.music.drawings import png, roll
from vaekit.domains.music.excerpts import Excerpt
from vaekit.domains.music.sound import render, wav
from vaekit.errors import counted

MOST_SECONDS = 90.0
"""Of the excerpts of a page together."""
Cell = tuple[str, Excerpt]
"""A caption and an excerpt."""
STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem}table{border-spacing:.6rem}"
    "td,th{vertical-align:top;text-align:left}img{display:block;max-width:100%;image-rendering:pixelated}"
    "audio{width:100%;min-width:14rem}figure{margin:0}figcaption{font-size:13px}"
)


def page(title: str, rows: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    """The page; of long results, the first excerpts, so that they last at most `MOST_SECONDS` together.

    Args:
        title: of the page.
        rows: their names, and cells.
    """
    shown, left, total = list[str](), MOST_SECONDS, sum(len(cells) for _, cells in rows)
    count = 0
    for name, cells in rows:
        figures = []
        for caption, excerpt in cells:
            if left > 0:
                figures.append(f"<td>{figure(caption, excerpt)}</td>")
                count += 1
            left -= excerpt.seconds
        if figures:
            shown.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(figures)}</tr>')
    more = f"<p>The first {count:,} of {counted(total, 'excerpt')}; the MIDI file has all.</p>" if count < total else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><h1>{escape(title)}</h1>{more}"
        f"<table>{''.join(shown)}</table></html>\n"
    )


def figure(caption: str, excerpt: Excerpt) -> str:
    """An excerpt with its player."""
    sound, image = (base64.b64encode(each).decode() for each in (wav(render([excerpt])), png(roll(excerpt))))
    about = f"{caption} {excerpt.meter}, {excerpt.tempo:.0f} quarter notes per minute".strip()
    return (
        f'<figure><img src="data:image/png;base64,{image}" alt="Piano roll of {escape(about, quote=True)}">'
        f'<audio controls preload="none" src="data:audio/wav;base64,{sound}"></audio>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )
