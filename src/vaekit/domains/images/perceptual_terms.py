"""The networks behind the perceptual terms of a recipe: which, from where, and by what they are known again."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vaekit.domains.domain import TermSettings
from vaekit.errors import BadRecipe, printable
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lpips import BACKBONES, LPIPS, VGG
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.training.recipe import Recipe, table_of

TERM, SETTING = "lpips", "network"


def perceptual_terms(
    recipe: Recipe,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
    path: Path | None = None,
) -> TermSettings:
    """Load LPIPS where a term of the recipe asks for it: `network = "vgg"`, the default, or "alex".

    Args:
        recipe: whose terms are looked at.
        device: where the network is put.
        path: a file or folder with its weights; None looks where weights are kept.

    Raises:
        NotFound: its weights are not here. The message says how to get them.
        BadRecipe: there is no such network, or two terms ask for different ones.
    """
    terms = table_of(table_of(recipe.words.get("objective")).get("terms"))
    tables = {name: table_of(words) for name, words in terms.items()}
    found = [words.get(SETTING, VGG.name) for name, words in tables.items() if words.get("term", name) == TERM]
    if not found:
        return TermSettings()
    backbone = next((each for each in BACKBONES if all(name == each.name for name in found)), None)
    if backbone is None:
        raise BadRecipe(
            f"The recipe {recipe.name} asks for LPIPS of {printable(', '.join(map(str, found)))}.",
            f"There is one network for all terms: {' or '.join(each.name for each in BACKBONES)}.",
            "",
        )
    network = load_lpips(backbone, path).lpips.to(device)
    return TermSettings({TERM: {SETTING: gray_too(network)}}, {f"lpips_{backbone.name}": weights_digest(network)})


def gray_too(network: LPIPS) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance of images with one channel too."""
    return lambda x, y: network(as_rgb(x), as_rgb(y))


def weights_digest(network: LPIPS) -> str:
    """SHA-256 over the values, whatever file they came from."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
