"""What a domain lends to the measures of a latent space: features of items, and a perceptual distance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vaekit.metrics.measure import Measure


@dataclass(frozen=True, eq=False)
class Features:
    """A network whose features describe items."""

    extract: Callable[[Tensor], Tensor]
    """Items (b, ...), not rounded -> features (b, width)."""
    width: int
    settings: Mapping[str, Any]
    """The network, with the hash of its weights; part of the protocol."""
    reconstructed: Measure
    """The Frechet distance of reconstructions by these features."""
    interpolated: Measure
    """That of decoded interpolations."""
    sampled: Measure
    """That of decoded samples of N(0, I)."""

    @property
    def quantities(self) -> tuple[Measure, Measure, Measure]:
        """All three."""
        return self.reconstructed, self.interpolated, self.sampled


@dataclass(frozen=True, eq=False)
class PerceptualDistance:
    """A distance between pairs of items."""

    between: Callable[[Tensor, Tensor], Tensor]
    """Items (b, ...) and others -> distances (b,)."""
    settings: Mapping[str, Any]
    """The network, with the hash of its weights; part of the protocol."""


@dataclass(frozen=True, eq=False)
class Perception:
    """How items of a domain are perceived; a domain leaves out what it does not have."""

    features: Features | None = None
    distance: PerceptualDistance | None = None
    metric: bool = True
    """Whether Euclidean distances between decoded items are meaningful; not for tokens."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Why there are no `features` or no `distance`, by these names."""
