"""Split sentences into words and punctuation marks, and join them again without loss.

A token does not carry the space before it where the space is usual: before a word, and not before a comma. Where a
sentence differs from that, the token has a mark: " " for an unusual space ("tasty ." becomes "tasty", " ."), or a word
joiner for a missing one. So words have one token each, wherever they are, and sentences whose tokens were separated by
another program come back as they are.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

JOINED = "\u2060"
"""The mark of a token without the usual space before it: WORD JOINER."""
SPACED = " "
"""The mark of a token with an unusual space before it."""
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese and Japanese, which are not separated by spaces. Each is a token."""
OPENING = frozenset("([{\u201c\u2018\u00ab\u201e\u201a\u00bf\u00a1$\u00a3\u20ac#@")
"""Punctuation marks with a space before them and none after them."""
CLOSING = frozenset(".,;:!?)]}\u201d\u2019\u00bb%\u2026'\u0964\u0965\u060c\u061b\u061f")
"""Punctuation marks with a space after them and none before them."""
JOINING = frozenset("/\\\u3001\u3002\u300a-\u300f\u3010\u3011\uff01\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f")
"""Punctuation marks without spaces around them."""
GAPS = re.compile(r"(\s+)")
FIRST_MARK = 0x300
"""The first combining mark of Unicode."""
WORD, OPEN, CLOSE, JOIN, BLANK = "word", "open", "close", "join", "blank"


def split_words(text: str) -> list[str]:
    """The tokens of a sentence.

    >>> split_words("It's light, isn't it?")
    ["It's", 'light', ',', "isn't", 'it', '?']
    >>> split_words("light and tasty .")
    ['light', 'and', 'tasty', ' .']
    """
    spacing = Spacing()
    return [token for part in GAPS.split(text) for token in spacing.marked(part)]


def join_words(tokens: Iterable[str]) -> str:
    """The sentence of tokens.

    >>> join_words(["It's", "light", ",", " ,", "isn't", "it", "?"])
    "It's light, , isn't it?"
    """
    spacing = Spacing()
    return "".join(text for token in tokens for text in spacing.plain(token))


@dataclass
class Spacing:
    """The state between two tokens: whether a space is usual after the last one."""

    last: str = JOIN
    """The kind of the last token. At the start no space is usual."""
    quoted: bool = False
    """Whether a straight double quote is open."""
    gap: str = ""
    """White space since the last token that no token has yet."""

    def marked(self, part: str) -> Iterator[str]:
        """The tokens of a part of a sentence: white space, or what is between it."""
        if part.isspace():
            self.gap = part
            return
        if self.gap not in ("", SPACED) or (self.gap and not part):  # unusual, or at the end
            self.last = BLANK
            yield self.gap
            self.gap = ""
        for token in pieces(part):
            usual, spaced = self.is_usual(token), self.gap == SPACED
            self.gap = ""
            self.after(token, spaced)
            yield token if spaced == usual else (SPACED if spaced else JOINED) + token

    def plain(self, token: str) -> Iterator[str]:
        """The texts of a token: the space before it, and itself."""
        if token.isspace():
            self.last = BLANK
            yield token
            return
        has_mark = len(token) > 1 and token[0] in (SPACED, JOINED)
        name = token[1:] if has_mark else token
        spaced = token[0] == SPACED if has_mark else self.is_usual(name)
        self.after(name, spaced)
        yield SPACED if spaced else ""
        yield name

    def is_usual(self, token: str) -> bool:
        """Whether a space is usual between the last token and this one."""
        if self.last in (OPEN, JOIN, BLANK):
            return False
        return not self.quoted if token == '"' else kind(token) not in (CLOSE, JOIN)

    def after(self, token: str, spaced: bool) -> None:
        """The state after a token. A straight quote that follows white space opens a quotation."""
        if token in ('"', "'"):
            self.quoted ^= token == '"'
            self.last = OPEN if spaced or self.last in (OPEN, JOIN, BLANK) else CLOSE
        else:
            self.last = kind(token)


@lru_cache(2**16)
def kind(token: str) -> str:
    """The kind of a token, by its first character."""
    first = token[:1]
    if first in OPENING:
        return OPEN
    if first in CLOSING:
        return CLOSE
    return JOIN if first in JOINING or IDEOGRAPH.match(first) else WORD


@lru_cache(2**16)
def pieces(part: str) -> tuple[str, ...]:
    """Text without white space as words, numbers and punctuation marks; equal marks in a row are one piece."""
    pattern = piece_pattern("" if part.isascii() else combining_marks())
    return tuple(match[0] for match in pattern.finditer(part))


@cache
def piece_pattern(marks: str) -> re.Pattern[str]:
    """What matches one piece.

    Args:
        marks: combining marks, which are parts of words.
    """
    letter = f"(?:[^\\W{IDEOGRAPHS}]|[{marks}])" if marks else "\\w"
    inner = r"(?:['\u2019-]|(?<=\d)[.,:/](?=\d))"
    short = f"['\u2019](?:s|t|m|d|re|ve|ll|em|n)(?!{letter})"
    return re.compile(f"{short}|{letter}+(?:{inner}{letter}+)*|{JOINED}|([^\\s{JOINED}])\\1*", re.IGNORECASE)


@cache
def combining_marks() -> str:
    """All combining marks, for a class of a regular expression."""
    every = map(chr, range(FIRST_MARK, 0x110000))
    return "".join(char for char in every if unicodedata.category(char).startswith("M"))


IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
