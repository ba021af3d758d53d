"""Color profiles, made by hand (ICC.1:2001-04): Pillow can make none but sRGB, Lab and XYZ."""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    name = b"Made by hand\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": description, b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content
    header = bytes(4) + struct.pack(">I", 0x02400000) + kind + space + connection + bytes(12) + b"acsp" + bytes(28)
    header += fixed(0.9642, 1, 0.8249) + bytes(48)
    return struct.pack(">I", 128 + len(table) + len(data)) + header[: 128 - 4].ljust(124, b"\0") + table + data


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


WIDE = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""The primaries of Display P3 in XYZ under D50."""

WIDE_PROFILE = icc(
    b"RGB ",
    {name + b"XYZ": b"XYZ \0\0\0\0" + fixed(*primary) for name, primary in zip((b"r", b"g", b"b"), WIDE, strict=True)}
    | {name + b"TRC": gamma(2.2) for name in (b"r", b"g", b"b")},
)
GRAY_PROFILE = icc(b"GRAY", {b"kTRC": gamma(1.0)})
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def ink_profile() -> bytes:
    """CMYK on white paper, where full cyan alone comes out red and every other ink black."""
    corners = [(255, 128, 128), *[(0, 128, 128)] * 15]
    corners[8] = (136, 208, 195)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + b"".join(bytes(corner) for corner in corners) + ramp * 3
    return icc(b"CMYK", {b"A2B0": table, b"A2B1": table}, connection=b"Lab ", kind=b"prtr")


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055)
