"""Posteriors over codes as parts of a VAE: their names and settings in recipes and files."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from vaekit.distributions import UniformCodes
from vaekit.nets.part_protocols import NetPart
from vaekit.nets.quantizers import ChoiceQuantizer, FiniteScalarQuantizer, ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer, VectorQuantizer

MOST_CODES = 2**24
"""The maximum number of codes: larger indices are not exact in fp32."""
MOST_STAGES = 64
MOST_LEVELS = 1000
"""The maximum number of levels of an FSQ channel: its bounds are a thousandth wider than its levels. The minimum is 3:
with two levels there is none in the middle and gradients vanish; lfq supports that case."""


def check_range(least: int, most: int, **values: int) -> None:
    """Check that values are in a range.

    Raises:
        ValueError: a value is out of range.
    """
    for name, value in values.items():
        if not least <= value <= most:
            raise ValueError(f"{name} is {value}, expected {least} to {most}")


@dataclass(frozen=True)
class VQPart:
    """The nearest vector of a codebook, whose vectors have the latent's channels."""

    codes: int
    """The number of vectors in the codebook."""
    kind: str = field(default="vq", init=False)
    moments: ClassVar[int] = 1
    channels: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_range(1, MOST_CODES, codes=self.codes)

    def head(self, net: NetPart) -> VectorQuantizer:
        return VectorQuantizer(self.codes, net.latent_channels)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes)


@dataclass(frozen=True)
class CosineVQPart(VQPart):
    """The nearest codebook vector by direction; latents are unit vectors."""

    kind: str = field(default="cosine-vq", init=False)

    def head(self, net: NetPart) -> CosineQuantizer:
        return CosineQuantizer(self.codes, net.latent_channels)


@dataclass(frozen=True)
class ResidualVQPart:
    """The sum of the nearest vectors of several codebooks, each of which quantizes the residual of the previous
    ones."""

    codes: int
    """The number of vectors in each codebook."""
    stages: int
    """The number of codebooks."""
    kind: str = field(default="residual-vq", init=False)
    moments: ClassVar[int] = 1
    channels: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_range(1, MOST_CODES, codes=self.codes)
        check_range(1, MOST_STAGES, stages=self.stages)

    def head(self, net: NetPart) -> ResidualQuantizer:
        return ResidualQuantizer(self.codes, net.latent_channels, self.stages)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes**self.stages)


@dataclass(frozen=True)
class FSQPart:
    """Each channel rounded to a few levels."""

    levels: tuple[int, ...]
    """The number of levels of each latent channel. (8, 5, 5, 5) gives 1000 codes; see table 1 of arXiv 2309.15505."""
    kind: str = field(default="fsq", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for number in self.levels:
            check_range(3, MOST_LEVELS, levels=number)
        check_range(2, MOST_CODES, codes=math.prod(self.levels))

    @property
    def channels(self) -> int:
        """The required number of latent channels."""
        return len(self.levels)

    def head(self, net: NetPart) -> FiniteScalarQuantizer:
        return FiniteScalarQuantizer(self.levels)

    def prior(self) -> UniformCodes:
        return UniformCodes(math.prod(self.levels))


@dataclass(frozen=True)
class LFQPart:
    """The sign of each of `bits` channels."""

    bits: int
    """The number of bits: there are 2^bits codes."""
    kind: str = field(default="lfq", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_range(1, MOST_CODES.bit_length() - 1, bits=self.bits)

    @property
    def channels(self) -> int:
        """The required number of latent channels."""
        return self.bits

    def head(self, net: NetPart) -> SignQuantizer:
        return SignQuantizer(self.bits)

    def prior(self) -> UniformCodes:
        return UniformCodes(2**self.bits)


@dataclass(frozen=True)
class GumbelPart:
    """A categorical choice of a code; the latent has a channel for each code."""

    codes: int
    relaxed: bool = True
    """Whether latents in training are relaxed one-hot vectors, as in DALL-E, rather than hard ones."""
    kind: str = field(default="gumbel", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_range(2, MOST_CODES, codes=self.codes)

    @property
    def channels(self) -> int:
        """The required number of latent channels."""
        return self.codes

    def head(self, net: NetPart) -> ChoiceQuantizer:
        return ChoiceQuantizer(self.codes, self.relaxed)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes)
