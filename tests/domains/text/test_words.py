"""Words and punctuation marks, and sentences from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaekit.domains.text.words import JOINED, join_words, split_words

CHARACTERS = st.sampled_from(
    [*"ab1\u00e9\u0301'\".,-_/$([)]!", " ", "  ", "\t", "\xa0", JOINED, "\u65e5", "\u3002", "\ufffd"]
)


@given(st.lists(CHARACTERS | st.characters(codec="utf-8"), max_size=12).map("".join))
def test_every_text_comes_back(text: str) -> None:
    tokens = split_words(text)
    assert all(tokens)
    assert join_words(tokens) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man, sleeping.", ["A", "man", ",", "sleeping", "."]),
        ("it 's light , and tasty .", ["it", " 's", "light", " ,", "and", "tasty", " ."]),
        ("I don't know (yet)...", ["I", "don't", "know", "(", "yet", ")", "..."]),
        ('she said "hello there" twice', ["she", "said", '"', "hello", "there", '"', "twice"]),
        ("3.5 % of 1,000 well-known $5", ["3.5", " %", "of", "1,000", "well-known", "$", "5"]),
        ("x=y", ["x", f"{JOINED}=", f"{JOINED}y"]),
        ("\u65e5\u672c\u3002", ["\u65e5", "\u672c", "\u3002"]),
        ("nai\u0308ve", ["nai\u0308ve"]),
        ("a  b ", ["a", "  ", "b", " "]),
        ("", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert split_words(text) == tokens


def test_a_word_is_the_same_token_everywhere() -> None:
    assert len({token for text in ("dog", "a dog.", "(dog)", '"dog"', "'dog", "not, dog") for token in split_words(text)
                if "dog" in token}) == 1  # fmt: skip
