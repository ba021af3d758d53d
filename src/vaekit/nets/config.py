"""What every image VAE's config can tell, whatever its family."""

from typing import Protocol, runtime_checkable

from vaekit.errors import BadItem


@runtime_checkable
class ImageConfig(Protocol):
    """The facts about an image VAE that do not depend on its family."""

    @property
    def image_channels(self) -> int:
        """Channels of an image: 3, or 1 for gray ones."""

    @property
    def latent_channels(self) -> int:
        """Channels of the raw latents."""

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""

    @property
    def blocks(self) -> int:
        """Blocks of the larger half; each has several tensors."""


@runtime_checkable
class FixedSizeConfig(ImageConfig, Protocol):
    """The facts about an image VAE that takes images of one size only."""

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""


def image_size(config: ImageConfig) -> int | None:
    """The side of the only images that a VAE takes; None where it takes any."""
    return config.image_size if isinstance(config, FixedSizeConfig) else None


def compression(config: ImageConfig) -> float:
    """Numbers in an image for each number in its latent: 48 for 3 channels, factor 8 and 4 latent channels."""
    return config.image_channels * config.factor**2 / config.latent_channels


def check_takes_images(config: ImageConfig) -> None:
    """Refuse a VAE of something else.

    Raises:
        BadItem: it takes no images.
    """
    if not config.image_channels:
        raise BadItem(
            "This VAE takes no images.",
            "It is one of rows of a table, of sentences or the like.",
            "`vaekit inspect` says what it is made of; `vaekit.load` opens it in Python.",
        )
