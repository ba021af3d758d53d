"""The `start` of a recipe: initialization of new weights before the first step."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import unfold

from vaekit.errors import BadRecipe, printable
from vaekit.families.kl.net import Decoder, Encoder
from vaekit.training.data import Stream
from vaekit.training.init_linear import init_linear
from vaekit.training.init_mean import init_to_mean
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

FIRST, BLOCKS = 64, 20_000
"""A quarter of the number of items that weights are initialized from, and the maximum number of blocks of them."""


def initializer_for(recipe: Recipe, stream: Stream) -> Callable[[VAE], None] | None:
    """The function that initializes weights: "linear" is `init_linear`, "mean" is `init_mean`; None for no start.

    It raises BadRecipe where there is no such start, or the VAE cannot begin so.
    """
    start = recipe.words.get("start")
    if start is None:
        return None

    def initialize(vae: VAE) -> None:
        if start == "mean" and init_to_mean(vae, first_items(stream)):
            return
        if start != "linear" or not isinstance(vae.encoder, Encoder) or not isinstance(vae.decoder, Decoder):
            raise BadRecipe(
                f"The recipe {recipe.name} has start = {printable(repr(start))}.",
                'Expected "linear" for a VAE of the family "kl", "mean" for nets mlp or residual, or no start.',
                "",
            )
        init_linear(vae.encoder, vae.decoder, blocks_of(first_items(stream), vae.config.geometry.factors[0]))

    return initialize


def first_items(stream: Stream) -> Tensor:
    """Some of the items that a run begins with, (n, ...)."""
    return torch.cat([stream.batch(place, FIRST) for place in range(0, 4 * FIRST, FIRST)])


def blocks_of(images: Tensor, side: int) -> Tensor:
    """Blocks of images (b, c, h, w), each (c, side, side): (n, c, side, side)."""
    columns = unfold(images.contiguous(), side, stride=side)
    blocks = columns.transpose(1, 2).reshape(-1, images.shape[1], side, side)
    return blocks[:: max(1, len(blocks) // BLOCKS)]
