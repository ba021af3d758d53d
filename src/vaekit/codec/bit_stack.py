"""A stack of bits with probabilities."""

from typing import Any, cast

import numpy as np

from vaekit.codec.types import Bits, Probabilities, Words
from vaekit.optional import require


class BitStack:
    """A stack of bits with probabilities: asymmetric numeral systems (Duda 2009, arXiv 0902.0271), by the library
    constriction. Pushing a bit of probability p adds -log2 p bits, and popping one removes as many, so that popping is
    sampling, and exactly undone by pushing.

    Probabilities are rounded to multiples of 2^-24 inside, by operations that are the same on every machine.

    Args:
        words: the content of a stack; empty for a new one.

    Raises:
        MissingPackage: constriction is not installed.
        ValueError: these words are no content of a stack.
    """

    def __init__(self, words: Words) -> None:
        constriction = require("constriction", "code bits by their probabilities", "codec")
        coder = constriction.stream.stack.AnsCoder
        self._coder: Any = coder(words) if len(words) else coder()
        self._model: Any = constriction.stream.model.Bernoulli(perfect=False)

    def push(self, bits: Bits, probabilities: Probabilities) -> None:
        """Push bits (n,), the last one first; `pop` returns them in their order.

        Args:
            bits: booleans.
            probabilities: of ones, in (0, 1), (n,).
        """
        if len(bits):
            self._coder.encode_reverse(bits.astype(np.int32), self._model, probabilities)

    def pop(self, probabilities: Probabilities) -> Bits:
        """Pop as many bits as there are probabilities."""
        if not len(probabilities):
            return np.zeros(0, dtype=np.bool_)
        return cast(Bits, self._coder.decode(self._model, probabilities).astype(np.bool_))

    @property
    def words(self) -> Words:
        """The content, in words of 32 bits."""
        return cast(Words, self._coder.get_compressed())

    @property
    def bits(self) -> int:
        """The size of the content."""
        return int(self._coder.num_valid_bits())
