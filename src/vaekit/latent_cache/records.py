"""Records of a cache of latents: an item, its latents, and a batch of them for training.

A cache is a folder: `cache.json` (the VAE, and how items are prepared), `plans/NNN.json` (which keys are in which
shard), `shards/NAME.safetensors` and `NAME.json`, `items.jsonl` (names, labels and captions), and `quarantine.jsonl`
(items without latents, and why).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaekit.json import encodable

KEY_LENGTH = 64
"""Characters of a key: a SHA-256 in hexadecimal."""
LARGEST_SIDE = 2**40


@dataclass(frozen=True, slots=True)
class CachedItem:
    """One item of a data set, by its content."""

    key: str
    """SHA-256 of the content: an edited item has another key, a renamed one has not."""
    name: str
    size: tuple[int, ...]
    """Of the item along its axes, before it was prepared: (height, width) of an image, () of a row."""
    bucket: tuple[int, ...]
    """The size in which it was encoded."""
    crop: tuple[int, int, int, int] | None = None
    """The part of an image that was encoded: left, top, right, bottom, in pixels of the upright image."""
    label: str | None = None
    caption: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; names of files may have bytes that are not UTF-8."""
        return {
            "key": self.key,
            "name": encodable(self.name),
            "size": list(self.size),
            "bucket": list(self.bucket),
            "crop": None if self.crop is None else list(self.crop),
            "label": None if self.label is None else encodable(self.label),
            "caption": None if self.caption is None else encodable(self.caption),
        }

    @classmethod
    def from_json(cls, value: object) -> "CachedItem":
        """The inverse of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise ValueError("an item is no object")
        crop = value.get("crop")
        return cls(
            checked_key(value.get("key")),
            checked_text(value.get("name")),
            checked_sides(value.get("size")),
            checked_sides(value.get("bucket")),
            None if crop is None else checked_crop(crop),
            optional_text(value.get("label")),
            optional_text(value.get("caption")),
        )


Moments = tuple[Tensor, Tensor | None]
"""Mean and log-variance; None for a posterior without variance."""


@dataclass(frozen=True, eq=False)
class CachedLatent:
    """The posterior of one item over raw latents, in fp32."""

    item: CachedItem
    mean: Tensor
    """(z, *latent)."""
    log_variance: Tensor | None = None
    """(z, *latent); None for a posterior without variance."""
    flipped: Moments | None = None
    """The same of the mirrored item, where it is stored."""


@dataclass(frozen=True, eq=False)
class CachedBatch:
    """The posteriors of items of one size over raw latents, in fp32. Training draws from them."""

    mean: Tensor
    """(b, z, *latent)."""
    log_variance: Tensor | None = None
    """(b, z, *latent); None for posteriors without variance."""
    labels: Sequence[str | None] = ()
    """Of each item."""
    captions: Sequence[str | None] = ()
    """Of each item."""

    def __len__(self) -> int:
        return len(self.mean)


def checked_key(value: object) -> str:
    """Check a key.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or len(value) != KEY_LENGTH or set(value) - set("0123456789abcdef"):
        raise ValueError("a key is not a SHA-256 in hexadecimal")
    return value


def checked_text(value: object) -> str:
    """Check a text.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError("a name is not text")
    return value


def optional_text(value: object) -> str | None:
    """Check a text that may be missing.

    Raises:
        ValueError: it is something else.
    """
    return None if value is None else checked_text(value)


def checked_sides(value: object) -> tuple[int, ...]:
    """Check a size.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list) or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in value):
        raise ValueError("a size is not a list of positive integers")
    return tuple(value)


def checked_crop(value: object) -> tuple[int, int, int, int]:
    """Check a crop box.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list) or len(value) != 4 or not all(type(each) is int for each in value):
        raise ValueError("a crop box is not four integers")
    left, top, right, bottom = value
    if not (0 <= left < right <= LARGEST_SIDE and 0 <= top < bottom <= LARGEST_SIDE):
        raise ValueError("a crop box is empty")
    return left, top, right, bottom
