"""The networks of the perceptual terms of a recipe, and the digests of their weights."""

import hashlib
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit.domains.domain import TermSettings
from vaekit.errors import BadRecipe, printable
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lpips import BACKBONES, LPIPS, VGG
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.training.recipe import Recipe, kind_of_term, table_or_empty

TERM, SETTING = "lpips", "network"


def perceptual_terms(
    recipe: Recipe,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
    path: Path | None = None,
) -> TermSettings:
    """Load LPIPS if a term of the recipe uses it, with `network = "vgg"`, the default, or "alex".

    Args:
        recipe: the recipe.
        device: of the network.
        path: a file or folder with the weights; None for the search path of `load_lpips`.

    Raises:
        NotFound: the weights are not installed. The message says how to get them.
        BadRecipe: the network is unknown, or two terms use different ones.
    """
    terms = table_or_empty(table_or_empty(recipe.table.get("objective")).get("terms"))
    tables = {name: table_or_empty(settings) for name, settings in terms.items()}
    names = [table.get(SETTING, VGG.name) for name, table in tables.items() if kind_of_term(name, table) == TERM]
    if not names:
        return TermSettings()
    backbone = next((each for each in BACKBONES if all(name == each.name for name in names)), None)
    if backbone is None:
        raise BadRecipe(
            f"The recipe {recipe.name} uses LPIPS with the networks {printable(', '.join(map(str, names)))}.",
            f"Expected the same network for all terms: {' or '.join(each.name for each in BACKBONES)}.",
            "",
        )
    network = load_lpips(backbone, path).lpips.to(device)
    return TermSettings(
        {TERM: {SETTING: partial(rgb_distance, network)}}, {f"lpips_{backbone.name}": weights_digest(network)}
    )


def rgb_distance(network: LPIPS, x: Tensor, y: Tensor) -> Tensor:
    """The distances (b,) of images (b, c, h, w) in [-1, 1] as RGB: a single channel is repeated.

    Raises:
        BadRecipe: the images are too small for the network.
    """
    smallest = network.backbone.smallest
    if min(x.shape[2:]) < smallest:
        raise BadRecipe(
            f"The images of the run have {x.shape[3]}x{x.shape[2]} pixels.",
            f"LPIPS with the network {network.backbone.name} needs {smallest}x{smallest} or more.",
            "Train on larger images, or with a recipe without a term `lpips`.",
        )
    return network(as_rgb(x), as_rgb(y))


def weights_digest(network: LPIPS) -> str:
    """SHA-256 over names and values, independent of the file format."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
