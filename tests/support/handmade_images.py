"""Small images made here, and how their pixels are looked at."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.domains.images.read import LoadedImage


def scene(mode: str = "RGB", size: tuple[int, int] = (7, 5)) -> Image.Image:
    """A small image in which no two rows, columns or corners are alike."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def levels(image: LoadedImage) -> NDArray[np.int64]:
    """The pixels as 8-bit levels (h, w, 3); each must be one exactly."""
    values = image.pixels[0].permute(1, 2, 0).double().numpy()
    rounded = np.round((values + 1) * 127.5)
    np.testing.assert_allclose(values, rounded / 127.5 - 1, atol=1e-6)
    return rounded.astype(np.int64)


def in_8_bits(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB")).astype(np.int64)


def half_transparent() -> Image.Image:
    return Image.linear_gradient("L").resize((7, 5))


def some(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def png(width: int, height: int, depth: int, color: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG written by hand, for depths that Pillow cannot write; `rows` with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
