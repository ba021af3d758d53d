"""Geometry: the shape of the items that a VAE takes, and of their latents."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any, Protocol, Self, runtime_checkable

from vaekit.errors import BadItem, counted

MAX_AXES = 3
"""The maximum number of axes: torch has convolutions over three."""
MAX_EXTENT = 2**40
"""The largest value in a geometry from a file."""
EDGE, ZEROS = "edge", "zeros"
AXIS_NAMES: tuple[tuple[str, ...], ...] = ((), ("t",), ("h", "w"), ("t", "h", "w"))
"""The names of the axes in messages, by their number."""


@dataclass(frozen=True)
class Geometry:
    """The shapes of a VAE's items and latents, for any family and domain.

    A batch of items has the shape (b, channels, *size), and its raw latents (b, latent_channels, *latent_size(size)).
    An item of a VAE with one global latent has no axes: a row of a table has one channel for each column, and a
    sentence one channel for each token, since the latent has no positions. An image VAE with a vector latent has the
    size of the image as its factors, and thus a latent map with one position.

    Args:
        channels: of an item: 3 for color images, 1 for grayscale, the columns of a row, the tokens of a sentence.
        latent_channels: of the raw latents.
        factors: item positions per latent position, along each axis: (8, 8) for images, (2048,) for audio, (4, 8, 8)
            for video, () for a global latent.
        size: the fixed size of an item along its axes; None if any size is valid.
        causal: whether the first position along the first axis has its own latent position, and the factor applies to
            the following ones, as in video VAEs: 1 + 4 n frames have 1 + n latent frames.
        least_positions: the minimum number of latent positions along each axis: 2 for networks with reflection padding.
        upscale: positions of a decoded image per position of the encoded one, along each axis: 2 for a decoder that
            also doubles the resolution.
        padding: the values that items are padded with at the end of each axis to a whole number of latent positions:
            "edge" repeats the last ones, and "zeros" is usual for audio.
        chunk: the item positions that the networks take at once, for a VAE over one axis that is defined on chunks of
            one length: each is normalized, encoded and decoded separately. 0 for a VAE of whole items. The last chunk
            is continued with zeros. See `vaekit.chunks`.
        overlap: the positions at the end of each chunk that the next one has, too; there, decoded chunks are
            cross-faded.

    Raises:
        ValueError: a value is less than 1, there are more than three axes, size and factors differ in the number of
            axes, items other than images are upscaled, or the padding is unknown. Chunks are not of one axis of any
            size, are no whole number of latent positions or too few, overlap by more than half, or are not padded with
            zeros.
    """

    channels: int
    latent_channels: int
    factors: tuple[int, ...] = ()
    size: tuple[int, ...] | None = None
    causal: bool = False
    least_positions: int = 1
    upscale: int = 1
    padding: str = EDGE
    chunk: int = 0
    overlap: int = 0

    def __post_init__(self) -> None:
        numbers = (self.channels, self.latent_channels, self.least_positions, self.upscale, *self.factors)
        numbers += self.size or ()
        if min(numbers) < 1:
            raise ValueError("channels, factors, sizes and positions must be 1 or more")
        if self.size is not None and len(self.size) != self.axes:
            raise ValueError(f"the size has {len(self.size)} axes, but there are {self.axes} factors")
        if self.axes > MAX_AXES:
            raise ValueError(f"{self.axes} axes exceed the maximum of {MAX_AXES}")
        if self.causal and not self.axes:
            raise ValueError("a geometry without axes cannot be causal")
        if self.upscale > 1 and self.axes != 2:
            raise ValueError("only images can be upscaled")
        if self.padding not in (EDGE, ZEROS):
            raise ValueError(f"the padding is {self.padding!r}, and not {EDGE!r} or {ZEROS!r}")
        if self.chunk and (self.axes != 1 or self.size is not None or self.causal or self.padding != ZEROS):
            raise ValueError("only items of one axis and of any size, padded with zeros, are cut into chunks")
        if self.chunk and (self.chunk % self.factors[0] or self.chunk_positions < self.least_positions):
            raise ValueError(f"chunks of {self.chunk} are no whole number of latent positions, or too few")
        if not 0 <= 2 * self.overlap <= self.chunk:
            raise ValueError(f"chunks of {self.chunk} do not overlap by {self.overlap}")

    @property
    def axes(self) -> int:
        """The number of spatial and temporal axes of an item: 2 for images, 0 for a row.

        >>> Geometry(3, 4, (8, 8)).axes, Geometry(12, 2).axes
        (2, 0)
        """
        return len(self.factors)

    def latent_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Latent positions along each axis of an item of this size, padding included.

        >>> Geometry(3, 4, (8, 8)).latent_size((64, 65))
        (8, 9)
        >>> Geometry(3, 16, (4, 8, 8), causal=True).latent_size((17, 64, 64))
        (5, 8, 8)
        >>> Geometry(12, 2).latent_size(())
        ()
        >>> Geometry(2, 8, (320,), padding="zeros", chunk=48_000, overlap=480).latent_size((47_521,))
        (300,)
        """
        if self.chunk:
            return (-(-size[0] // self.chunk_step) * self.chunk_positions,)
        return tuple(
            max(self.least_positions, first - (first - extent) // factor)
            for extent, factor, first in zip(size, self.factors, self._firsts, strict=True)
        )

    def size_of(self, latent_size: Sequence[int]) -> tuple[int, ...]:
        """The size of the item that has raw latents of this size or in whole chunks; `decoded_size` of it is that
        of the decoded item.

        >>> Geometry(3, 4, (8, 8)).size_of((8, 9))
        (64, 72)
        >>> Geometry(3, 16, (4, 8, 8), causal=True).size_of((5, 8, 8))
        (17, 64, 64)
        >>> Geometry(2, 8, (320,), padding="zeros", chunk=48_000, overlap=480).size_of((300,))
        (95040,)
        """
        if self.chunk:
            return (-(-latent_size[0] // self.chunk_positions) * self.chunk_step,)
        return tuple(
            first + (positions - first) * factor
            for positions, factor, first in zip(latent_size, self.factors, self._firsts, strict=True)
        )

    def decoded_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The size of the decoded item for an encoded item of this size.

        >>> Geometry(3, 4, (8, 8)).decoded_size((60, 65)), Geometry(3, 16, (8, 8), upscale=2).decoded_size((60, 65))
        ((60, 65), (120, 130))
        """
        return tuple(extent * self.upscale for extent in size)

    def padded_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The size that an item of this size is padded to: a whole number of latent positions.

        >>> Geometry(3, 4, (8, 8)).padded_size((60, 65))
        (64, 72)
        """
        return self.size_of(self.latent_size(size))

    @property
    def chunk_step(self) -> int:
        """Item positions from the start of one chunk to that of the next: those that each chunk adds to an item."""
        return self.chunk - self.overlap

    @property
    def chunk_positions(self) -> int:
        """The latent positions of each chunk."""
        return self.chunk // self.factors[0]

    @property
    def of_networks(self) -> "Geometry":
        """The geometry of what the networks take: of chunks as items, or this one."""
        return replace(self, chunk=0, overlap=0)

    @property
    def item_shape(self) -> tuple[int, ...] | None:
        """The shape of one item, channels first; None if items may have any size.

        >>> Geometry(1, 10, (28, 28), (28, 28)).item_shape, Geometry(12, 2).item_shape
        ((1, 28, 28), (12,))
        """
        return (self.channels, *self.size) if self.size is not None else None if self.axes else (self.channels,)

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """The shape of the raw latent of one item, channels first; None if it depends on the size of the item.

        >>> Geometry(1, 10, (28, 28), (28, 28)).latent_shape, Geometry(12, 2).latent_shape
        ((10, 1, 1), (2,))
        """
        shape = self.item_shape
        return None if shape is None else (self.latent_channels, *self.latent_size(shape[1:]))

    @property
    def compression(self) -> float:
        """Item values per latent value, without padding.

        >>> Geometry(3, 4, (8, 8)).compression
        48.0
        """
        shared = self.chunk_step / self.chunk if self.chunk else 1
        return self.channels * prod(self.factors) * shared / self.latent_channels

    def positions_per(self, extent: float) -> float:
        """Latent positions per item positions, without padding: per second, given the samples of a second.

        >>> Geometry(1, 8, (320,)).positions_per(24_000)
        75.0
        """
        return extent * (self.chunk_positions / self.chunk_step if self.chunk else 1 / prod(self.factors))

    @property
    def factor_text(self) -> str:
        """The factors for messages: one if all axes have the same; "none" for a global latent.

        >>> Geometry(3, 4, (8, 8)).factor_text, Geometry(3, 16, (4, 8, 8)).factor_text, Geometry(12, 2).factor_text
        ('8', '4x8x8', 'none')
        """
        return "x".join(map(str, self.factors if len(set(self.factors)) > 1 else self.factors[:1])) or "none"

    @property
    def latent_text(self) -> str:
        """The shape of raw latents for messages.

        >>> Geometry(3, 4, (8, 8)).latent_text, Geometry(12, 2).latent_text
        ('4 channels at 1/8 size', '2 channels')
        >>> Geometry(2, 8, (320,), padding="zeros", chunk=48_000, overlap=480).latent_text
        '8 channels at 1/320 size in chunks of 48000'
        """
        scale = f" at 1/{self.factor_text} size" if self.axes else ""
        chunks = f" in chunks of {self.chunk}" if self.chunk else ""
        return f"{counted(self.latent_channels, 'channel')}{scale}{chunks}"

    @property
    def batch_text(self) -> str:
        """The shape of a batch of items, for messages.

        >>> Geometry(3, 4, (8, 8)).batch_text, Geometry(1, 10, (28, 28), (28, 28)).batch_text
        ('(b, 3, h, w)', '(b, 1, 28, 28)')
        """
        return f"({', '.join(map(str, ('b', self.channels, *(self.size or AXIS_NAMES[self.axes]))))})"

    def __str__(self) -> str:
        """For messages: the values of an item in each latent position, channels first.

        >>> str(Geometry(3, 4, (8, 8)))
        '3x8x8'
        """
        return "x".join(map(str, (self.channels, *self.factors)))

    def require_axes(self, axes: int, items: str) -> None:
        """Reject a VAE of items with another number of axes.

        Args:
            axes: the expected number.
            items: the expected items, for the message: "images".

        Raises:
            BadItem: the VAE takes items with another number of axes.
        """
        if self.axes != axes:
            raise BadItem(
                f"This VAE does not take {items}: its batches have the shape {self.batch_text}.",
                f"Expected a VAE of {items}, whose items have {counted(axes, 'axis', 'axes')} and not {self.axes}.",
                "`vaekit inspect` describes it; `vaekit.load` opens it in Python.",
            )

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; those that were added later are absent if they have their defaults, as earlier
        readers know only geometries without them.

        >>> Geometry(12, 2).as_json()["factors"]
        []
        """
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in values.items() if value != _ADDED.get(name)}

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """The inverse of `as_json`, for untrusted values; None for anything else.

        >>> Geometry.from_json(Geometry(3, 4, (8, 8)).as_json()) == Geometry(3, 4, (8, 8))
        True
        >>> Geometry.from_json({"channels": 3}), Geometry.from_json({"channels": 3, "latent_channels": -4})
        (None, None)
        """
        if not isinstance(value, dict) or not value.keys() <= {field.name for field in fields(cls)}:
            return None
        size = value.get("size")
        numbers = [value.get(name, 1 if name in _OPTIONAL else None) for name in _NUMBERS]
        numbers += [value.get(name, 0) for name in ("chunk", "overlap")]
        extents = [value.get("factors", []), [] if size is None else size]
        if not all(isinstance(each, (list, tuple)) and len(each) <= MAX_AXES for each in extents):
            return None
        flat = [*numbers, *extents[0], *extents[1]]
        if (
            not all(type(each) is int and each <= MAX_EXTENT for each in flat)
            or type(value.get("causal", False)) is not bool
            or type(value.get("padding", EDGE)) is not str
        ):
            return None
        lists = {"factors": tuple(extents[0]), "size": None if size is None else tuple(size)}
        try:
            return cls(**value | lists)
        except ValueError:
            return None

    @property
    def _firsts(self) -> tuple[int, ...]:
        """The number of positions at the start of each axis with their own latent position."""
        return (int(self.causal), *[0] * (self.axes - 1)) if self.axes else ()


_ADDED = {"upscale": 1, "padding": EDGE, "chunk": 0, "overlap": 0}
"""The defaults of fields that were added later."""
_OPTIONAL = ("least_positions", "upscale")
_NUMBERS = ("channels", "latent_channels", *_OPTIONAL)


@runtime_checkable
class HasGeometry(Protocol):
    """A config with the geometry of the VAE that is built from it."""

    @property
    def geometry(self) -> Geometry:
        """The shapes of the VAE's items and latents."""


def size_text(size: Sequence[int]) -> str:
    """A size for messages: width x height for images, else in the order of the axes.

    >>> size_text((48, 64)), size_text((3, 8, 16)), size_text((2048,))
    ('64x48', '3x8x16', '2048')
    """
    return "x".join(map(str, reversed(size) if len(size) == 2 else size))
