"""Byte pairs."""

import sys

import pytest
from refusals import refuses

from vaekit.domains.text import byte_pairs
from vaekit.errors import MissingPackage

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "\u00fcber na\u00efve \U0001f600"] * 5


def test_texts_come_back() -> None:
    tokens, merges = byte_pairs.train(TEXTS, 300, 1)
    byte_pairs.check(tokens, merges)
    assert byte_pairs.train(TEXTS, 300, 1) == (tokens, merges)
    assert 256 < len(tokens) <= 300 and len(set(tokens)) == len(tokens)
    others = ["", " ", "  two  ", "\ttab\u65e5\u672c", "the the", "\x00\x7f\xad"]
    encoded = byte_pairs.encoder(tokens, merges)([*TEXTS, *others])
    assert [byte_pairs.text_of(tokens[place] for place in each) for each in encoded] == [*TEXTS, *others]
    assert encoded[0][0] == encoded[0][4]  # "the"


def test_the_characters_of_bytes_are_those_of_the_library() -> None:
    library = pytest.importorskip("tokenizers")
    assert sorted(byte_pairs.byte_characters()) == sorted(library.pre_tokenizers.ByteLevel.alphabet())


def test_rare_pairs_are_not_merged() -> None:
    assert len(byte_pairs.train(TEXTS, 300, 100)[0]) == 256


@pytest.mark.parametrize("merges", [(("t", "zz"),), (("t", "h"), ("qq", "q"))])
def test_damaged_merges_are_refused(merges: byte_pairs.Merges) -> None:
    with pytest.raises(ValueError):
        byte_pairs.check([*byte_pairs.byte_characters(), "th"], merges)


@pytest.mark.parametrize("tokens", [["a", "b"], [*byte_pairs.byte_characters(), "\u4e00"]])
def test_damaged_tokens_are_refused(tokens: list[str]) -> None:
    with pytest.raises(ValueError):
        byte_pairs.check(tokens, ())


def test_bytes_that_are_no_text() -> None:
    characters = byte_pairs.byte_characters()
    assert byte_pairs.text_of([characters[0xC3], "a"]) == "\ufffda"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with refuses(MissingPackage, "tokenizers", "pip install 'vaekit[text]'"):
        byte_pairs.train(TEXTS, 300, 1)
