"""What `optimise` is asked for, and what it returns."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median

from vaekit.tasks.batch import Batch

AUTO = "auto"


@dataclass(frozen=True)
class OptimiseOptions:
    """What is optimised, within which bounds, and how."""

    property: str
    """Of items; see `property_of`. A leading minus sign minimises it."""
    minimise: bool = False
    target: float | None = None
    """The value to come close to, instead of the largest or smallest one."""
    within: float = 3.0
    """The maximum distance from the item in latent space, in standard deviations of the latents: over the channels of
    each position, and the root mean square over positions."""
    density: float = 0.01
    """The minimum density of a latent: that which this share of latents does not reach. An item that is less dense
    itself may stay so. 0 for no limit."""
    method: str = AUTO
    """"gradient" ascent, "cma-es", or "auto": gradients where the property has them. For properties that are measured
    of discrete items, the gradient is that of a regression on latents, and "auto" is both, one after the other."""
    steps: int | None = None
    """Of gradient ascent, or generations of CMA-ES; None for 200, or 60 where candidates are measured."""
    seed: int = 0
    """Of CMA-ES, and of the samples that densities are compared with."""
    data: Path | None = None
    """Data whose latents define standard deviations and densities; None for the prior of the VAE."""
    path: int | None = None
    """Also write this many items between each item and its result."""
    similarity: float | None = None
    """The minimum similarity of the result to the item, by the measure of the domain; None for no limit."""


@dataclass(frozen=True)
class OptimisedItem:
    """An item and what became of it. The property is measured of items as they are written, never of latents."""

    name: str
    before: float
    """The property of the item."""
    reconstruction: float
    """Of the item, encoded and decoded: where the walk started."""
    after: float
    """Of the result."""
    confirmed: float
    """Of the result, encoded and decoded again: close to `after` if the VAE takes the result for what it is."""
    moved: float
    """The distance in latent space, in standard deviations."""
    active: tuple[str, ...]
    """The constraints that the result has reached, of "distance" and "density"."""
    similarity: float | None = None
    """Of the result to the item; None where the domain has no measure, or nothing was judged."""
    original: str | None = None
    """The item as text, where items of the domain can be compared."""
    result: str | None = None
    """The result as text."""

    @property
    def unchanged(self) -> bool:
        """Whether the result is the item itself, because no candidate was better."""
        return self.result is not None and self.result == self.original


@dataclass(frozen=True)
class OptimisedFile:
    """One file of items."""

    file: Path
    output: Path
    side_by_side: Path | None
    paths: tuple[Path, ...]
    """Files with the items between the start and the result."""
    items: tuple[OptimisedItem, ...]
    reference: str
    """The distribution of latents that distances and densities refer to, a phrase."""
    notes: tuple[str, ...]

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.file.name, "items": f"{len(self.items):,}"}


@dataclass(frozen=True)
class Optimised:
    """The items that were written."""

    batch: Batch[OptimisedFile]
    record: Path
    property: str
    goal: str
    """A phrase: "as high as possible"."""
    method: str
    similarity: str | None = None
    """The name of the measure of similarity, if results have one."""
    estimate: str | None = None
    """What the regression of the property on latents was fitted to, and how well it predicts; None without one."""
    notes: tuple[str, ...] = ()

    def median_similarity(self) -> float | None:
        """Of results to their items; None without a measure."""
        values = [item.similarity for file in self.batch.results for item in file.items]
        known = [value for value in values if value is not None and isfinite(value)]
        return median(known) if known else None
