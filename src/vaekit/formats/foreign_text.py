"""Text files in place of weights: pointers, error pages, configs, and the text parts of other programs' models."""

import html
import re
from collections.abc import Callable

from vaekit.errors import printable
from vaekit.formats.magic_numbers import CONVERTED, ORIGINAL, ForeignFile

MOST_QUOTED = 100
"""How many characters of a text are quoted."""
PAGE_ADVICE = (
    "The download gave a page instead of the file. The file may need a login or an accepted license, or the address "
    "is that of its page (on Hugging Face, files have `/resolve/` in place of `/blob/`)."
)
ERROR_ADVICE = (
    "The download gave this message instead of the file: resolve what it states, and download the file again."
)
UNKNOWN_ADVICE = "Give the weights file of the VAE. After a download, text is often the server's message in its place."
WEIGHTS_BESIDE = "Give its folder, or the weights file beside it."
LFS = re.compile(r"version https://git-lfs\S*\s+(?:ext\S.*\s+)*oid \S+\s+size (?P<size>\d+)")
XET = re.compile(r"# xet version")
CACHED = re.compile(r"(?:\.\./)*blobs/(?P<blob>[0-9a-f]{40,64})\s*")
TITLE = re.compile(r"<title[^>]*>(?P<title>.*?)</title", re.IGNORECASE | re.DOTALL)
HTML = re.compile(
    r"(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype html|html|head|body|title|script|div|p|h1)\b", re.I | re.S
)
XML = re.compile(r"<(?:\?xml|!--|[a-zA-Z])")
HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^>]*>")
OPENVINO = re.compile(r"(?:<\?xml[^>]*>\s*)?<net\b")
NCNN = re.compile(r"7767517\s+\d+\s+\d+")
TENSORFLOW = re.compile(r"(?:all_)?model_checkpoint_paths?:")
JSON = re.compile(r"[\[{]\s*(?:\"|[\[{\]}]|-?\d|null|true|false)")
SHARDS = re.compile(r'"weight_map"\s*:\s*\{')
CLASS = re.compile(r'"_class_name"\s*:\s*"(?P<name>\w{1,100})"')
ERROR = re.compile(r'"(?:error|errors|message|detail|error_description)"\s*:')
ERROR_TEXT = re.compile(
    r'"(?:error_description|message|detail|error)"\s*:\s*\[?\s*"(?P<text>(?:[^"\\]|\\.){1,300})', re.DOTALL
)


def by_text(start: bytes) -> ForeignFile | None:
    """The kind of a file that starts with these bytes; None if they are not text."""
    text = text_of(start)
    if text is None or not text.strip():
        return None
    kinds = ((pattern.match(text), describe) for pattern, describe in TEXTS)
    found = next((describe(match, text) for match, describe in kinds if match), None)
    return found or ForeignFile(f'a text file that begins with "{words(text)}"', UNKNOWN_ADVICE)


def text_of(start: bytes) -> str | None:
    """The text of these bytes, without a byte order mark and leading space; None if they are not text."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = start.decode("utf-16", errors="replace")
        # Any two bytes are some character: only markup and messages in Latin letters are told from numbers.
        return text.lstrip() if sum(character.isascii() for character in text) * 2 > len(text) else None
    text = start.decode("utf-8", errors="ignore").removeprefix("\ufeff")
    if len(text.encode()) < len(start) - 8:  # more than a mark at the start and a character cut at the end
        return None
    control = sum(not character.isprintable() and not character.isspace() for character in text)
    return text.lstrip() if control * 50 <= len(text) else None


def words(text: str) -> str:
    """The start of a text, for messages."""
    return printable(text[: 10 * MOST_QUOTED], MOST_QUOTED)


def shown_text(markup: str) -> str:
    """The title of a page, or the start of its text."""
    title = TITLE.search(markup)
    return words(html.unescape(title["title"] if title else TAG.sub(" ", HIDDEN.sub(" ", markup))))


def lfs_pointer(match: re.Match[str], _: str) -> ForeignFile:
    name = f"a Git LFS pointer to a file of {int(match['size'][:15]):,} bytes"
    return ForeignFile(name, "Run `git lfs pull` in its repository, or download the file itself.")


def xet_pointer(*_: object) -> ForeignFile:
    advice = "Install git-xet and run `git lfs pull` in its repository, or download the file itself with `hf download`."
    return ForeignFile("a Xet pointer to a file on Hugging Face", advice)


def cached_link(match: re.Match[str], _: str) -> ForeignFile:
    advice = f"Give {match['blob'][:12]}... in the folder `blobs` there, or copy the cache with its links resolved."
    return ForeignFile("a link of Hugging Face's cache that was copied as text", advice)


def web_page(_: re.Match[str], text: str) -> ForeignFile:
    return ForeignFile(f'a web page ("{shown_text(text)}")', PAGE_ADVICE)


def xml(_: re.Match[str], text: str) -> ForeignFile:
    if "<svg" in text[:1000]:
        return ForeignFile("an SVG image", "Give the weights file of the VAE here.")
    return ForeignFile(f'an XML text ("{shown_text(text)}")', ERROR_ADVICE)


def openvino(*_: object) -> ForeignFile:
    return ForeignFile("an OpenVINO model (.xml)", ORIGINAL)


def ncnn(*_: object) -> ForeignFile:
    return ForeignFile("an ncnn model (.param)", ORIGINAL)


def tensorflow(*_: object) -> ForeignFile:
    return ForeignFile("the index of TensorFlow checkpoints", CONVERTED)


def json_text(_: re.Match[str], text: str) -> ForeignFile:
    class_name, error = CLASS.search(text), ERROR_TEXT.search(text)
    if SHARDS.search(text):
        return ForeignFile("the index of a model in several files", "Give the folder of these files.")
    if class_name:
        return ForeignFile(f"the config of {class_name['name']}", WEIGHTS_BESIDE)
    if error or ERROR.search(text):
        return ForeignFile(f'a JSON error message ("{words(error["text"] if error else text)}")', ERROR_ADVICE)
    return ForeignFile(f"a JSON text ({words(text)})", WEIGHTS_BESIDE)


TEXTS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], ForeignFile]], ...] = (
    (LFS, lfs_pointer),
    (XET, xet_pointer),
    (CACHED, cached_link),
    (HTML, web_page),
    (OPENVINO, openvino),
    (XML, xml),
    (NCNN, ncnn),
    (TENSORFLOW, tensorflow),
    (JSON, json_text),
)
"""Kinds of texts, by their start; the first match counts."""
