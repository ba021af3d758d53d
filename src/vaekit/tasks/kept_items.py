"""Refuse results that do not fit into memory before they are decoded."""

from math import prod

import torch
from torch import Tensor

from vaekit.errors import TooLittleMemory
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import SHARE_OF_FREE, format_bytes, free_memory, sufficient_text


def check_kept(engine: Engine, count: int, like: Tensor, items: str) -> None:
    """Check that decoded items fit into the memory that the plan allows: images are kept in 8 bits, twice.

    Args:
        engine: the VAE, with its plan.
        count: of the items that are kept until all are decoded.
        like: items (b, ...) of the same size.
        items: plural noun for messages.

    Raises:
        TooLittleMemory: they do not fit.
    """
    needed = 2 * count * engine.geometry.upscale**2 * prod(like.shape[1:])
    available = engine.plan.budget or int(SHARE_OF_FREE * free_memory(torch.device("cpu")))
    if needed > available:
        raise TooLittleMemory(
            f"{count:,} decoded {items} of {'x'.join(map(str, like.shape[1:]))} values take {format_bytes(needed)} of "
            "memory.",
            f"Expected at most {format_bytes(available)}.",
            f"Use fewer steps or smaller {items}, or allow more memory: --memory '{sufficient_text(needed)}'.",
            least=needed,
        )
