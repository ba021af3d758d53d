"""The facts that every VAE's config tells, whatever its family."""

from typing import Protocol, runtime_checkable

from vaekit.geometry import HasGeometry


@runtime_checkable
class Config(HasGeometry, Protocol):
    """The facts about a VAE that do not depend on its family."""

    @property
    def blocks(self) -> int:
        """Blocks of the larger half; each has several tensors."""
