"""Files that hold many small pictures as one array: MNIST's idx, and NumPy's npz."""

import gzip
import struct
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadPicture

IDX = {8: torch.uint8}
"""Types of numbers in idx files that are pictures."""


def read_idx(path: Path) -> Tensor:
    """The array of an idx file, gzipped or not (the format of http://yann.lecun.com/exdb/mnist): (n, h, w), bytes.

    Raises:
        BadPicture: it is damaged, or something else.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, axes = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes])
        if zero or kind not in IDX:
            raise ValueError("it holds no bytes")
        return torch.frombuffer(bytearray(raw[4 + 4 * axes :]), dtype=IDX[kind]).view(shape)
    except (OSError, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise BadPicture(f"{path} is no idx file with pictures ({error}).", "", "") from error
