"""Bring items of a data set to the sizes in which a VAE encodes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from vaekit.datasets.dataset import Record

Size = tuple[int, ...]
"""Along the axes of an item: (height, width) of an image, () of a row."""
Crop = tuple[int, int, int, int]
"""A part of an image: left, top, right, bottom, in pixels of the upright image."""


@dataclass(frozen=True)
class FitOptions:
    """The sizes that items are brought to. None is the default of the domain."""

    size: int | None = None
    """Side of a square with the area of the images in pixels."""
    buckets: int | None = None
    """The sides of images are multiples of it, with the aspect ratio nearest to the image's; 0: all are squares."""
    crop: str | None = None
    """"center": the middle of an image, in the aspect ratio of its bucket; "whole": all of it, stretched to the
    bucket."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Items in the size of a bucket."""

    x: Tensor
    """(b, c, *bucket), as the VAE takes them."""
    sizes: Sequence[Size]
    """Of each item, before."""
    crops: Sequence[Crop | None]
    """The part of each item that is kept; None for items without positions."""


@runtime_checkable
class Fitting(Protocol):
    """How items of a data set are brought to a few sizes. Picklable, and thread-safe."""

    @property
    def mirrors(self) -> bool:
        """Whether items can be mirrored."""

    def size(self, record: Record) -> Size:
        """The size of an item, without reading all of it.

        Raises:
            BadItem, NotFound: it cannot be read.
        """

    def bucket(self, size: Size) -> Size:
        """The size that an item of a size is brought to."""

    def fit(self, records: Sequence[Record], bucket: Size) -> Fitted:
        """Items in the size of a bucket.

        Raises:
            BadItem, NotFound: one cannot be read.
        """

    def mirrored(self, x: Tensor) -> Tensor:
        """Mirror images of items (b, c, *bucket), if `mirrors`."""

    def as_plain(self) -> Mapping[str, Any]:
        """As plain values, for the description of a cache."""
