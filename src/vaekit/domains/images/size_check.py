"""Refuse images that need more memory than the plan allows, from their headers."""

from collections.abc import Callable

import torch

from vaekit.domains.images.read import READING, RGBA
from vaekit.runtime.engine import Engine
from vaekit.runtime.item_sizes import check_items
from vaekit.runtime.memory import free_memory


def size_check(*engines: Engine) -> Callable[[int, int], None]:
    """A check of the size of images that engines will be run on, as `read_image` takes it.

    Only a size whose pixels alone may exceed the limit is checked: a plan is made for that, and an engine keeps one.

    Returns:
        A function of rows and columns that raises TooLittleMemory if an engine needs more memory than its plan allows,
        and BadItem if it takes another size only.
    """

    def check(height: int, width: int) -> None:
        for engine in engines:
            geometry, limit = engine.geometry, engine.plan.budget or free_memory(torch.device("cpu"))
            if READING * height * width > limit and geometry.axes == 2:
                channels = geometry.channels if geometry.channels in (1, RGBA) else 3
                check_items(torch.empty((1, channels, height, width), device="meta"), geometry)
                engine.explain(height, width)

    return check
