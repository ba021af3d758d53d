"""The static files of the page: a fixed set, read once. No name in a request is joined to a path."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from vaekit.report.scripts import shared_files

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".json": "application/json",
    ".bin": "application/octet-stream",
}


def read_page() -> dict[str, tuple[bytes, str]]:
    """The content and the media type of each file, by its path below the folder of the page.

    Style sheets and modules that reports use, too, are below `shared/`.
    """
    shared = {f"shared/{name}": (content, media_type(name)) for name, content in shared_files().items()}
    return dict(files_below(files("vaekit.serve") / "page", "")) | shared


def media_type(name: str) -> str:
    """The type of a file by its ending.

    Raises:
        KeyError: it is not that of a file of a page.
    """
    return MEDIA_TYPES["." + name.rpartition(".")[2]]


def files_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, tuple[bytes, str]]]:
    """The files in and below a folder that have a known type."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from files_below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(tuple(MEDIA_TYPES)):
            yield prefix + entry.name, (entry.read_bytes(), media_type(entry.name))
