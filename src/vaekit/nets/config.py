"""The facts that every VAE's config tells, whatever its family."""

from typing import Protocol, runtime_checkable

from vaekit.geometry import HasGeometry


@runtime_checkable
class Config(HasGeometry, Protocol):
    """The facts about a VAE that do not depend on its family."""

    @property
    def blocks(self) -> int:
        """Blocks of the larger half; each has several tensors."""


@runtime_checkable
class PaddedConfig(Config, Protocol):
    """A config of convolutions that may pad in several ways."""

    @property
    def padding(self) -> str:
        """What the convolutions see beyond the edge, in torch's words."""


def padding_of(config: HasGeometry) -> str:
    """What the convolutions of a VAE see beyond the edge; empty where its nets have one way only."""
    return config.padding if isinstance(config, PaddedConfig) else ""
