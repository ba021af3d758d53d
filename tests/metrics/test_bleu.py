"""BLEU-4."""

import math

import pytest

from vaekit.metrics.bleu import FIELDS, bleu, counts_of, tokens_of


def score(*pairs: tuple[str, str]) -> float:
    return bleu([sum(each) for each in zip(*(counts_of(*pair) for pair in pairs), strict=True)])


def test_equal_texts() -> None:
    assert score(("a dog runs over there .", "a dog runs over there .")) == pytest.approx(100)
    assert len(counts_of("a", "b")) == FIELDS and score(("a b c d", "e f g h")) == 0 == score(("", "a b c d"))


def test_by_hand() -> None:
    """Precisions 5/6, 3/5, 2/4, 1/3, and the texts are equally long."""
    value = score(("the cat sat on the rug", "the cat sat on a rug"))
    assert value == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_short_results_are_penalized_and_orders_without_a_match_smoothed() -> None:
    """Precisions 4/4, 2/3; 0/2 and 0/1 are smoothed to 1/(2*2) and 1/(4*1); 4 tokens of 6."""
    value = score(("a b d e", "a b c d e f"))
    assert value == pytest.approx(100 * math.exp(1 - 6 / 4) * (1 * 2 / 3 * 1 / 4 * 1 / 4) ** 0.25)


def test_a_corpus_is_no_mean() -> None:
    pairs = [("a b c d e", "a b c d e"), ("a b c d f", "a b c d e")]
    value = score(*pairs)
    assert value != pytest.approx((score(pairs[0]) + score(pairs[1])) / 2)
    assert value == pytest.approx(100 * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("1,000.5 (or 3-4)", ["1,000.5", "(", "or", "3", "-", "4", ")"]),
        ("don't &amp; do", ["don't", "&", "do"]),
        ("tasty .", ["tasty", "."]),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens
