"""Byte pair encoding (Sennrich et al. 2016, arXiv 1508.07909) of UTF-8 bytes, as in GPT-2, by the library `tokenizers`.

A tokenizer is its tokens and its merges. Every byte is a token, so that no text is unknown. Decoding needs no library.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from vaekit.optional import require

PURPOSE, EXTRA = "split text into byte pairs", "text"
BYTES = 256
START = " "
"""Put before every text, so that its first word has the token that it has elsewhere."""
Merges = tuple[tuple[str, str], ...]
"""Pairs of tokens that become one token, in the order in which they are merged."""


@cache
def byte_characters() -> tuple[str, ...]:
    """The character that stands for each byte: its own in Latin-1 if that can be seen, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTES) if byte not in visible]
    names = {byte: byte for byte in visible} | {byte: BYTES + place for place, byte in enumerate(others)}
    return tuple(chr(names[byte]) for byte in range(BYTES))


@cache
def bytes_of_characters() -> dict[str, int]:
    """The inverse."""
    return {character: byte for byte, character in enumerate(byte_characters())}


def no_byte() -> str:
    """The character of a byte that UTF-8 does not have, for an unknown token."""
    return byte_characters()[0xFF]


def text_of(tokens: Iterable[str]) -> str:
    """The text of tokens; U+FFFD for bytes that are not UTF-8.

    Raises:
        KeyError: a character stands for no byte.
    """
    places = bytes_of_characters()
    text = bytes(places[character] for character in "".join(tokens)).decode("utf-8", "replace")
    return text.removeprefix(START)


def check(tokens: Sequence[str], merges: Merges) -> None:
    """Check a tokenizer that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    known, places = set(tokens), bytes_of_characters()
    if not all(character in places for character in "".join(tokens)) or not known.issuperset(places):
        raise ValueError("its tokens are not those of bytes")
    if not all(first in known and second in known and first + second in known for first, second in merges):
        raise ValueError("a merge is not of tokens that it has")


def train(texts: Iterable[str], vocabulary: int, min_count: int) -> tuple[tuple[str, ...], Merges]:
    """Learn a tokenizer: its tokens in the order of their numbers, and its merges.

    Args:
        texts: sentences.
        vocabulary: the maximum number of tokens; all bytes are among them.
        min_count: how often a pair has to occur, at least twice.

    Raises:
        MissingPackage: `tokenizers` is not installed.
    """
    library = require("tokenizers", PURPOSE, EXTRA)
    tokenizer = of_bytes(library, library.models.BPE())
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=max(min_count, 2),
        show_progress=False,
        initial_alphabet=list(byte_characters()),
    )
    tokenizer.train_from_iterator((START + text for text in texts), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
    return tuple(sorted(model["vocab"], key=model["vocab"].__getitem__)), tuple((one, two) for one, two in pairs)


def encoder(tokens: Sequence[str], merges: Merges) -> Callable[[Sequence[str]], list[list[int]]]:
    """A function from texts to the places of their tokens.

    Raises:
        MissingPackage: `tokenizers` is not installed.
    """
    library = require("tokenizers", PURPOSE, EXTRA)
    places = {token: place for place, token in enumerate(tokens)}
    tokenizer = of_bytes(library, library.models.BPE(places, list(merges)))

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encoded = tokenizer.encode_batch([text and START + text for text in texts])
        return [each.ids for each in encoded]

    return encode


def of_bytes(library: Any, model: Any) -> Any:
    """A tokenizer of the bytes of words, each with the space before it."""
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer
