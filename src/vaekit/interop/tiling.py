"""Memory of a tile, without tiles: engines that run whole images in about the memory that a tile of them takes."""

import math

from vaekit.errors import TooLittleMemory
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import DTYPES, Plan
from vaekit.vae import VAE

TILE = 512
"""The side of a tile in pixels, if none is given: that of most VAEs of diffusers."""
COPIES = 4
"""Values in fp32 for each one of an image: as it is given, padded, cast, and as the result."""
SINGLE = 4
KEPT = 2
"""Engines, which hold convolutions that are prepared: one to encode and one to decode images of a size."""


class TileEngines:
    """Engines of a VAE whose memory limit is that of a tile, for images of any size.

    Args:
        vae: the VAE; its weights are shared, wherever they are moved and whatever they are cast to.
        tile: height and width of a tile in pixels.
    """

    def __init__(self, vae: VAE, tile: tuple[int, int]) -> None:
        self.vae, self.tile = vae, tile
        self._engines: dict[tuple[object, ...], Engine] = {}

    def to_encode(self, size: tuple[int, ...]) -> Engine:
        """An engine that encodes images of a size (height, width)."""
        return self._engine("encode", size)

    def to_decode(self, positions: tuple[int, ...]) -> Engine:
        """An engine that decodes latents with this number of rows and columns."""
        return self._engine("decode", self.vae.geometry.size_of(positions))

    def _engine(self, half: str, size: tuple[int, ...]) -> Engine:
        weights = next(self.vae.parameters())
        key = (half, size, weights.data_ptr(), weights.dtype)
        if key not in self._engines:
            engine = limited(self.vae, half, size, self.tile)
            kept = list(self._engines.items())[1 - KEPT :]
            self._engines = {**dict(kept), key: engine}
        return self._engines[key]


def limited(vae: VAE, half: str, size: tuple[int, ...], tile: tuple[int, int]) -> Engine:
    """An engine for images of a size whose memory limit is what the networks take for a tile, and what the image itself
    takes; or the least limit that is sufficient, if that is more.

    Args:
        vae: the VAE.
        half: "encode" or "decode".
        size: height and width of the images.
        tile: those of the tile.
    """
    weights = next(vae.parameters())
    dtype = next(name for name, each in DTYPES.items() if each == weights.dtype)
    plan = Plan(device=str(weights.device), dtype=dtype)
    unlimited = Engine(vae, plan)
    within = size if vae.geometry.size else (min(tile[0], size[0]), min(tile[1], size[1]))
    (explained,) = unlimited.explain(*within, only=half)
    if explained.predicted_peak is None:
        return unlimited
    memory = explained.predicted_peak + math.prod(size) * vae.geometry.channels * COPIES * SINGLE
    try:
        Engine(vae, limited_plan := Plan(plan.device, dtype, memory=memory)).explain(*size, only=half)
    except TooLittleMemory as error:
        assert error.least is not None
        limited_plan = Plan(plan.device, dtype, memory=error.least)
    return Engine(vae, limited_plan)
