"""What each part of a VAE must say of itself: the slots that `vaekit.families.parts.net` fills.

Each part is a small frozen record that builds itself; its `kind` is the word that recipes and files call it by.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.distributions import Likelihood, Posterior, Prior, ToPrior


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
    def latent_channels(self) -> int:
        """Channels of the raw latents."""

    @property
    def image_channels(self) -> int:
        """Channels of an image; 0 where the data are none."""

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""

    @property
    def image_size(self) -> int | None:
        """Side of the only images that it takes; None where it takes any, or none."""

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
    """Of one item that a net takes.

    Raises:
        ValueError: it takes items of any size, or of no numbers.
    """
    size = net.image_size
    shape = (net.image_channels, size, size) if size is not None else getattr(net, "data_shape", None)
    if shape is None:
        raise ValueError("the net takes items of any size, or of no numbers, and so their shape is not known")
    return tuple(shape)


def latent_shape(net: NetPart) -> tuple[int, ...]:
    """Of the raw latent of one item: a map of an image, a vector of everything else.

    Raises:
        ValueError: it depends on the size of the image.
    """
    if not net.image_channels:
        return (net.latent_channels,)
    if net.image_size is None:
        raise ValueError("the net takes images of any size, and so the shape of its latent is not known")
    side = net.image_size // net.factor
    return net.latent_channels, side, side
