"""What each part of a VAE must say of itself: the slots that `vaekit.families.parts.net` fills.

Each part is a small frozen record that builds itself; its `kind` is the word that recipes and files call it by.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.distributions import Likelihood, Posterior, Prior, ToPrior
from vaekit.geometry import Geometry


@runtime_checkable
class Part(Protocol):
    """What all parts are: frozen dataclasses of numbers, words and tuples of these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """What recipes and files call it."""


@runtime_checkable
class NetPart(Part, Protocol):
    """A pair of an encoder and a decoder."""

    @property
    def geometry(self) -> Geometry:
        """The shapes of its items and latents."""

    @property
    def latent_channels(self) -> int:
        """Channels of the raw latents."""

    @property
    def data_shape(self) -> tuple[int, ...] | None:
        """The shape of one item of floating-point values; None where items have any size, or are tokens."""

    @property
    def blocks(self) -> int:
        """Blocks of the larger half; each has several tensors."""

    def build(self, moments: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        """Both halves: an encoder that says so many numbers of a latent, a decoder that says so many of a value."""


@runtime_checkable
class PosteriorPart(Part, Protocol):
    """How moments are read."""

    @property
    def moments(self) -> int:
        """Numbers that the encoder says of each number in the latent."""

    @property
    def channels(self) -> int | None:
        """Channels that the latent must have; None for any."""

    def head(self, net: NetPart) -> Callable[[Tensor], Posterior]:
        """Moments -> posterior."""

    def prior(self) -> Prior | None:
        """The prior that goes with it where nobody names another; None where it has no divergence from any."""


@runtime_checkable
class LikelihoodPart(Part, Protocol):
    """How parameters are read."""

    @property
    def outputs(self) -> int:
        """Numbers that the decoder says of each value of the data."""

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        """Parameters -> likelihood."""


@runtime_checkable
class PriorPart(Part, Protocol):
    """What the latents are like before any data is seen."""

    def head(self, net: NetPart, posterior: PosteriorPart) -> ToPrior | None:
        """`encode` of the VAE -> prior."""


def data_shape(net: NetPart) -> tuple[int, ...]:
    """The shape of one item that a net takes.

    Raises:
        ValueError: it takes items of any size, or tokens.
    """
    if net.data_shape is None:
        raise ValueError("the net takes items of any size, or tokens, and so the shape of their values is not known")
    return net.data_shape


def latent_shape(net: NetPart) -> tuple[int, ...]:
    """The shape of the raw latent of one item.

    Raises:
        ValueError: it depends on the size of the item.
    """
    shape = net.geometry.latent_shape
    if shape is None:
        raise ValueError("the net takes items of any size, and so the shape of its latent is not known")
    return shape
