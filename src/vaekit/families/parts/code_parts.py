"""Posteriors over codes as parts of a VAE: their names in recipes and files, and their settings."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from vaekit.distributions import UniformCodes
from vaekit.nets.part_protocols import NetPart
from vaekit.nets.quantizers import ChoiceQuantizer, FiniteScalarQuantizer, ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer, VectorQuantizer

MOST_CODES = 2**24
"""Indices up to here are exact in fp32."""
MOST_STAGES = 64
MOST_LEVELS = 1000
"""Of a channel of FSQ: its bounds are a thousandth wider than its levels, and let no more apart. With two there is none
in the middle, and the bounded values begin where they no longer move: signs (lfq) do that better."""


def at_least(least: int, most: int, **numbers: int) -> None:
    """Refuse what is out of range.

    Raises:
        ValueError: a number is.
    """
    for name, number in numbers.items():
        if not least <= number <= most:
            raise ValueError(f"{name} is {number}, expected {least} to {most}")


@dataclass(frozen=True)
class VQPart:
    """The nearest of a codebook of vectors as long as the latent has channels."""

    codes: int
    """Vectors in the codebook."""
    kind: str = field(default="vq", init=False)
    moments: ClassVar[int] = 1
    channels: ClassVar[None] = None

    def __post_init__(self) -> None:
        at_least(1, MOST_CODES, codes=self.codes)

    def head(self, net: NetPart) -> VectorQuantizer:
        return VectorQuantizer(self.codes, net.latent_channels)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes)


@dataclass(frozen=True)
class CosineVQPart(VQPart):
    """The nearest direction of a codebook; latents are unit vectors."""

    kind: str = field(default="cosine-vq", init=False)

    def head(self, net: NetPart) -> CosineQuantizer:
        return CosineQuantizer(self.codes, net.latent_channels)


@dataclass(frozen=True)
class ResidualVQPart:
    """The sum of the nearest of several codebooks, each of what those before it left over."""

    codes: int
    """Vectors in each codebook."""
    stages: int
    """Codebooks."""
    kind: str = field(default="residual-vq", init=False)
    moments: ClassVar[int] = 1
    channels: ClassVar[None] = None

    def __post_init__(self) -> None:
        at_least(1, MOST_CODES, codes=self.codes)
        at_least(1, MOST_STAGES, stages=self.stages)

    def head(self, net: NetPart) -> ResidualQuantizer:
        return ResidualQuantizer(self.codes, net.latent_channels, self.stages)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes**self.stages)


@dataclass(frozen=True)
class FSQPart:
    """Each channel rounded to a few levels."""

    levels: tuple[int, ...]
    """Of each channel of the latent. (8, 5, 5, 5) makes 1000 codes; see table 1 of arXiv 2309.15505 for others."""
    kind: str = field(default="fsq", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for number in self.levels:
            at_least(3, MOST_LEVELS, levels=number)
        at_least(2, MOST_CODES, codes=math.prod(self.levels))

    @property
    def channels(self) -> int:
        """Channels that the latent must have."""
        return len(self.levels)

    def head(self, net: NetPart) -> FiniteScalarQuantizer:
        return FiniteScalarQuantizer(self.levels)

    def prior(self) -> UniformCodes:
        return UniformCodes(math.prod(self.levels))


@dataclass(frozen=True)
class LFQPart:
    """The sign of each of `bits` channels."""

    bits: int
    """2^bits codes."""
    kind: str = field(default="lfq", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        at_least(1, MOST_CODES.bit_length() - 1, bits=self.bits)

    @property
    def channels(self) -> int:
        """Channels that the latent must have."""
        return self.bits

    def head(self, net: NetPart) -> SignQuantizer:
        return SignQuantizer(self.bits)

    def prior(self) -> UniformCodes:
        return UniformCodes(2**self.bits)


@dataclass(frozen=True)
class GumbelPart:
    """A choice among codes; the latent has a channel for each of them."""

    codes: int
    relaxed: bool = True
    """Whether latents are relaxed choices in training, as DALL-E's; else they are choices from the start."""
    kind: str = field(default="gumbel", init=False)
    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        at_least(2, MOST_CODES, codes=self.codes)

    @property
    def channels(self) -> int:
        """Channels that the latent must have."""
        return self.codes

    def head(self, net: NetPart) -> ChoiceQuantizer:
        return ChoiceQuantizer(self.codes, self.relaxed)

    def prior(self) -> UniformCodes:
        return UniformCodes(self.codes)
