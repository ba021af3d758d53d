"""The protocols of the parts that `vaekit.families.parts.net` combines into a VAE.

Each part is a frozen config that builds its module; `kind` is its name in recipes and files.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.distributions import Likelihood, Posterior, Prior, ToPrior
from vaekit.geometry import Geometry


@runtime_checkable
class Part(Protocol):
    """A part: a frozen dataclass of numbers, strings and tuples of these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """Its name in recipes and files."""


@runtime_checkable
class NetPart(Part, Protocol):
    """A pair of an encoder and a decoder."""

    @property
    def geometry(self) -> Geometry:
        """The shapes of its items and latents."""

    @property
    def latent_channels(self) -> int:
        """The number of channels of raw latents."""

    @property
    def data_shape(self) -> tuple[int, ...] | None:
        """The shape of an item of floating-point values; None if items have any size, or are tokens."""

    @property
    def blocks(self) -> int:
        """The number of blocks of the larger half; each has several tensors."""

    def build(self, moments: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` decoder outputs per data
        value."""


@runtime_checkable
class PosteriorPart(Part, Protocol):
    """A posterior as a function of the encoder's output."""

    @property
    def moments(self) -> int:
        """The number of encoder outputs per latent value."""

    @property
    def channels(self) -> int | None:
        """The required number of latent channels; None for any."""

    def head(self, net: NetPart) -> Callable[[Tensor], Posterior]:
        """The function from moments to the posterior."""

    def prior(self) -> Prior | None:
        """The default prior; None for a posterior without a divergence."""


@runtime_checkable
class LikelihoodPart(Part, Protocol):
    """A likelihood as a function of the decoder's output."""

    @property
    def outputs(self) -> int:
        """The number of decoder outputs per data value."""

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        """The function from parameters to the likelihood."""


@runtime_checkable
class PriorPart(Part, Protocol):
    """A prior."""

    def head(self, net: NetPart, posterior: PosteriorPart) -> ToPrior | None:
        """The function from the VAE's `encode` to the prior."""


def data_shape(net: NetPart) -> tuple[int, ...]:
    """The shape of an item of a net.

    Raises:
        ValueError: items have any size, or are tokens.
    """
    if net.data_shape is None:
        raise ValueError("the shape of values is unknown: the net takes items of any size, or tokens")
    return net.data_shape


def latent_shape(net: NetPart) -> tuple[int, ...]:
    """The shape of the raw latent of one item.

    Raises:
        ValueError: it depends on the size of the item.
    """
    shape = net.geometry.latent_shape
    if shape is None:
        raise ValueError("the shape of latents is unknown: the net takes items of any size")
    return shape
