"""Fit the vocabulary of sentences to data."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vaekit.datasets.dataset import Line, Record, TextRow
from vaekit.domains.record_tensors import without_columns
from vaekit.domains.text import byte_pairs
from vaekit.domains.text.schema import TextSchema, no_column, sentence_of
from vaekit.domains.text.units import BPE, BYTE_TOKENS, BYTES, UNITS, WORDS
from vaekit.errors import BadItem, NoTrainingData

AT_ONCE = 4096
"""Sentences that are converted together."""


def fit(
    records: Iterable[Record],
    unit: str,
    vocabulary: int,
    length: int,
    lowercase: bool = False,
    min_count: int = 1,
    column: str | None = None,
) -> TextSchema:
    """The schema of the sentences to train on: their most frequent tokens, and the length of the longest.

    Args:
        records: lines of text, or rows with text.
        unit: what a token is; see `TextSchema`.
        vocabulary: the maximum number of tokens that are known.
        length: the maximum number of tokens in a sentence; longer sentences count for nothing.
        lowercase: whether sentences are converted to lower case.
        min_count: how often a token has to occur to be known; of byte pairs, how often two have to be neighbors.
        column: of rows; None for the usual one.

    Raises:
        NoTrainingData: there is no sentence of that length, or no column of sentences.
        MissingPackage: byte pairs need `tokenizers`.
    """
    texts = sentences(records, column)
    texts = [text.lower() for text in texts] if lowercase else texts
    if unit == BPE:
        tokens, merges = byte_pairs.train(texts, vocabulary, min_count)
        schema = TextSchema(unit, tokens, length + 1, False, lowercase, merges, column)
        longest = longest_of((len(each) for each in encoded(texts, schema)), length, schema.noun)
        return TextSchema(unit, tokens, longest + 1, False, lowercase, merges, column)
    split = UNITS[unit].split
    counts: Counter[str] = Counter()
    lengths: list[int] = []
    for text in texts:
        sentence = split(text)
        lengths.append(len(sentence))
        if len(sentence) <= length:
            counts.update(sentence)
    longest = longest_of(lengths, length, unit)
    often = sorted((token for token in counts if counts[token] >= min_count), key=lambda token: (-counts[token], token))
    if not often:
        raise NoTrainingData(
            f"No token occurs {min_count:,} times.", f"The most frequent one occurs {max(counts.values()):,} times.",
            "Set data.min_count lower.",
        )  # fmt: skip
    tokens = BYTE_TOKENS if unit == BYTES else tuple(often[:vocabulary])
    return TextSchema(unit, tokens, longest + 1, unit == WORDS, lowercase, column=column)


def sentences(records: Iterable[Record], column: str | None) -> list[str]:
    """The texts of records; those that have none, or too long ones, are passed over.

    Raises:
        NoTrainingData: rows have no column of text, or a column of lines is named.
    """
    found: list[str] = []
    for record in records:
        if isinstance(record, Line) and column:
            raise without_columns(column, "sentences")
        if isinstance(record, TextRow) and (column or record.column) not in record.values:
            raise NoTrainingData(*no_column(record, column))
        try:
            text = sentence_of(record, column) if isinstance(record, Line | TextRow) else ""
        except BadItem:
            continue
        if text:
            found.append(text)
    return found


def encoded(texts: Sequence[str], schema: TextSchema) -> Iterable[list[int]]:
    """The numbers of the tokens of sentences, a few at a time."""
    for start in range(0, len(texts), AT_ONCE):
        yield from schema.encode(texts[start : start + AT_ONCE])


def longest_of(lengths: Iterable[int], limit: int, tokens: str) -> int:
    """The length of the longest sentence that is not too long.

    Args:
        lengths: of all sentences.
        limit: of the length.
        tokens: plural noun for messages.

    Raises:
        NoTrainingData: there is none.
    """
    longest = shortest = 0
    for length in lengths:
        if 0 < length <= limit:
            longest = max(longest, length)
        elif length:
            shortest = min(shortest or length, length)
    if longest:
        return longest
    expected = f"The shortest has {shortest:,} {tokens}." if shortest else ""
    raise NoTrainingData(f"No sentence has at most {limit:,} {tokens}.", expected, "Set data.length higher.")
