"""The `start` of a recipe: initialization of new weights before the first step."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import unfold

from vaekit.errors import BadRecipe, printable
from vaekit.families.kl.net import Decoder, Encoder
from vaekit.nets import transform_coding
from vaekit.nets.hyperprior import Hyperprior
from vaekit.training.data import Stream
from vaekit.training.init_linear import init_linear
from vaekit.training.init_mean import init_to_mean
from vaekit.training.init_transform import init_transform
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

FIRST, BLOCKS = 64, 20_000
"""A quarter of the number of items that weights are initialized from, and the maximum number of blocks of them."""
STARTS = 'Expected "linear" for a VAE of the family "kl" or "hyperprior", "mean" for nets mlp or residual, or no start.'


def initializer_for(recipe: Recipe, stream: Stream[Tensor]) -> Callable[[VAE], None] | None:
    """The function that initializes weights: `init_linear` or `init_transform` for "linear", `init_to_mean` for "mean";
    None for no start.

    It raises BadRecipe if the start is unknown, or incompatible with the VAE.
    """
    start = recipe.table.get("start")
    return None if start is None else partial(initialize, recipe.name, start, stream)


def initialize(recipe: str, start: object, stream: Stream[Tensor], vae: VAE) -> None:
    """Initialize weights from the first items of a run.

    Args:
        recipe: the name of the recipe, for messages.
        start: its setting.
        stream: the data.
        vae: changed in place.

    Raises:
        BadRecipe: the start is unknown, or incompatible with the VAE.
    """
    if start == "mean" and init_to_mean(vae, first_items(stream)):
        return
    encoder, decoder, prior = vae.encoder, vae.decoder, vae.to_prior
    try:
        if start == "linear" and isinstance(encoder, Encoder) and isinstance(decoder, Decoder):
            init_linear(encoder, decoder, blocks_of(first_items(stream), vae.config.geometry.factors[0]))
            return
        if start == "linear" and isinstance(encoder, transform_coding.Encoder) and isinstance(prior, Hyperprior):
            assert isinstance(decoder, transform_coding.Decoder)
            init_transform(encoder, decoder, prior, first_items(stream))
            return
    except ValueError as error:
        raise BadRecipe(
            f'The recipe {recipe} has start = "linear", but {error}.',
            "Expected nets with enough channels for a linear autoencoder.",
            "Increase the widths in [vae], or omit start.",
        ) from error
    raise BadRecipe(f"The recipe {recipe} has start = {printable(repr(start))}.", STARTS, "")


def first_items(stream: Stream[Tensor]) -> Tensor:
    """Items from the beginning of a run, (4 * FIRST, ...)."""
    return torch.cat([stream.batch(position, FIRST) for position in range(0, 4 * FIRST, FIRST)])


def blocks_of(images: Tensor, side: int) -> Tensor:
    """Square blocks of images (b, c, h, w), evenly spaced: (n, c, side, side), n about `BLOCKS` at most."""
    columns = unfold(images.contiguous(), side, stride=side)
    blocks = columns.transpose(1, 2).reshape(-1, images.shape[1], side, side)
    return blocks[:: max(1, len(blocks) // BLOCKS)]
