"""The query of the remote-VAE protocol, as diffusers and SD.Next send it.

Everything about a tensor is in the query: `shape` is repeated, once for each axis; Booleans are `True` and `False`.
What is missing has the default that diffusers documents. Without `scaling_factor` and `do_scaling`, latents are raw.
Source: `diffusers/utils/remote_utils.py` (0.42) and SD.Next's `sd_vae_remote.py`.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vaekit.geometry import Geometry
from vaekit.serve.refusals import bad_query
from vaekit.serve.tensor_bytes import DTYPES, FLOATS

MOST_AXES = 5
LARGEST = 2**31
"""Of an extent in a shape."""
DIGITS, DIGITS_OF_FLOAT = 10, 40
"""Characters of a number at most."""
PACK = 2
"""FLUX's transformer takes squares of 2x2 latent positions as tokens, which packed latents (b, tokens, 4 z) are."""
BATCHED, SINGLE = 4, 3
"""Axes of a batch of latents, and of packed or single ones."""
BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "none": False, "": False}
ITEM_SIZE = {name: dtype.itemsize for name, dtype in DTYPES.items()}
PIL, PT, MP4 = OUTPUT_TYPES = ("pil", "pt", "mp4")
FORMATS = {"jpg": "jpg", "jpeg": "jpg", "png": "png"}


@runtime_checkable
class Query(Protocol):
    """The parameters of a request, of which one may occur several times."""

    def get(self, key: str, /) -> str | None:
        """The last value; None if it is missing."""

    def getlist(self, key: str) -> list[str]:
        """All values, in order."""


@dataclass(frozen=True)
class TensorForm:
    """The shape and the dtype of a tensor that is sent as raw bytes."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]


@dataclass(frozen=True)
class Scaling:
    """How latents were scaled by the client: latents = (raw - shift) * factor."""

    factor: float = 1.0
    shift: float = 0.0
    own: bool = False
    """The normalization that the server knows of its VAE takes the place of both."""


@dataclass(frozen=True)
class DecodeQuery:
    """A request to decode."""

    latents: TensorForm
    scaling: Scaling
    packed: bool
    """Whether latents are (b, tokens, 4 z) as FLUX's transformer takes them."""
    positions: tuple[int, int]
    """Rows and columns of the latents, unpacked."""
    size: tuple[int, int]
    """Rows and columns of the image, before a decoder that upscales."""
    output_type: str
    partial_postprocess: bool
    image_format: str


def decode_query(query: Query, geometry: Geometry, patch: int = 1) -> DecodeQuery:
    """The parameters of a request to decode, checked against the shapes of a VAE.

    Args:
        query: the parameters.
        geometry: of the VAE.
        patch: of its normalization, see `LatentNormalization`; it counts where the server scales.

    Raises:
        Refusal: a parameter is missing, malformed or not among the known values, or latents do not fit the VAE.
    """
    latents = tensor_form(query)
    if latents.dtype not in FLOATS:
        raise bad_query(f"The dtype of latents is one of {', '.join(FLOATS)}.")
    output_type = choice(query, "output_type", OUTPUT_TYPES, PIL)
    image_format = FORMATS[choice(query, "image_format", tuple(FORMATS), "jpg")]
    if output_type == MP4:
        raise bad_query("This server decodes images; it writes no videos.")
    height, width = (integer(query, name) for name in ("height", "width"))
    given = None if height is None or width is None else (height, width)
    scaling = scaling_of(query)
    packed, positions = positions_of(latents.shape, given, geometry, patch if scaling.own else 1)
    return DecodeQuery(
        latents,
        scaling,
        packed,
        positions,
        size_of(positions, None if packed else given, geometry),
        output_type,
        boolean(query, "partial_postprocess"),
        image_format,
    )


def positions_of(
    shape: tuple[int, ...], size: tuple[int, int] | None, geometry: Geometry, patch: int = 1
) -> tuple[bool, tuple[int, int]]:
    """Whether latents of a shape are packed, and their rows and columns when they are unpacked.

    With a patch, latents (b, z * patch^2, h / patch, w / patch) are those of a diffusion model, as of FLUX.2. Latents
    with three axes are packed if their last axis and the number of tokens say so; otherwise they are those of one
    image, as SD.Next sends for FLUX.1 and Chroma.

    Raises:
        Refusal: they do not fit the VAE, or the size of the image.
    """
    channels = geometry.latent_channels * patch**2
    if len(shape) == SINGLE and size is not None and patch == 1:
        rows, columns = (extent // (factor * PACK) for extent, factor in zip(size, geometry.factors, strict=True))
        if shape[2] == channels * PACK**2 and shape[1] == rows * columns > 0:
            return True, (rows * PACK, columns * PACK)
    axes = shape[-SINGLE:]
    if len(shape) not in (BATCHED, SINGLE) or axes[0] != channels:
        packed = f" or packed (b, tokens, {channels * PACK**2}) with height and width" if len(shape) == SINGLE else ""
        raise bad_query(
            f"Latents of shape {list(shape)} do not fit this VAE. Expected (b, {channels}, h, w) or ({channels}, h, w)"
            f"{packed}."
        )
    return False, (axes[1] * patch, axes[2] * patch)


def size_of(positions: tuple[int, int], given: tuple[int, int] | None, geometry: Geometry) -> tuple[int, int]:
    """The size to which the image is cropped: the given one, or all that latents of this size decode to.

    Raises:
        Refusal: latents of an image of this size have another size.
    """
    if given is not None and geometry.latent_size(given) != positions:
        raise bad_query(f"Latents of {list(positions)} positions are not those of an image of {list(given)} pixels.")
    height, width = given or geometry.size_of(positions)
    return height, width


def tensor_form(query: Query) -> TensorForm:
    """The form of the tensor in the body.

    Raises:
        Refusal: shape or dtype are missing or malformed.
    """
    dtype = query.get("dtype")
    if dtype not in DTYPES:
        raise bad_query(f"The parameter dtype is one of {', '.join(DTYPES)}.")
    texts = query.getlist("shape")
    if not 1 <= len(texts) <= MOST_AXES:
        raise bad_query(f"The parameter shape is given once for each axis, up to {MOST_AXES} times.")
    shape = tuple(positive_integer("shape", text) for text in texts)
    return TensorForm(shape, dtype)


def scaling_of(query: Query) -> Scaling:
    """How the client scaled its latents, or wants them to be.

    Raises:
        Refusal: a number is malformed or not finite, or the factor is zero.
    """
    factor, shift = (number(query, name) for name in ("scaling_factor", "shift_factor"))
    if factor == 0:
        raise bad_query("The scaling_factor is not zero.")
    if factor is None and boolean(query, "do_scaling"):
        return Scaling(own=True)
    return Scaling(1.0 if factor is None else factor, 0.0 if shift is None else shift)


def boolean(query: Query, name: str) -> bool:
    """A Boolean parameter; False if it is missing.

    Raises:
        Refusal: it is something else.
    """
    value = (query.get(name) or "").lower()
    if value not in BOOLEANS:
        raise bad_query(f"The parameter {name} is True or False.")
    return BOOLEANS[value]


def integer(query: Query, name: str) -> int | None:
    """A positive integer; None if it is missing.

    Raises:
        Refusal: it is something else.
    """
    text = query.get(name)
    return None if text is None else positive_integer(name, text)


def positive_integer(name: str, text: str) -> int:
    """The integer in a text.

    Raises:
        Refusal: it is none, less than 1 or too large.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and 0 < (value := int(text)) < LARGEST):
        raise bad_query(f"The parameter {name} is a positive integer.")
    return value


def number(query: Query, name: str) -> float | None:
    """A finite number; None if it is missing.

    Raises:
        Refusal: it is something else.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        value = float(text) if len(text) <= DIGITS_OF_FLOAT else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_query(f"The parameter {name} is a finite number.")
    return value


def choice(query: Query, name: str, values: tuple[str, ...], default: str) -> str:
    """One of several values; the default if it is missing.

    Raises:
        Refusal: it is something else.
    """
    value = query.get(name) or default
    if value not in values:
        raise bad_query(f"The parameter {name} is one of {', '.join(values)}.")
    return value
