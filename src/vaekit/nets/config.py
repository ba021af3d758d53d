"""The protocol of the configs of all families."""

from typing import Protocol, runtime_checkable

from vaekit.geometry import HasGeometry


@runtime_checkable
class Config(HasGeometry, Protocol):
    """The properties of a VAE's config that do not depend on its family."""

    @property
    def blocks(self) -> int:
        """The number of blocks of the larger half; each has several tensors."""
