"""The networks behind the perceptual terms of a recipe: which, from where, and by what they are known again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from vaekit.checkpoints.perceptual import load_perceptual
from vaekit.errors import BadRecipe, legible
from vaekit.metrics.lpips import BACKBONES, LPIPS, VGG
from vaekit.training.recipe import Recipe

TERM, SETTING = "lpips", "network"


@dataclass(frozen=True)
class PerceptualTerms:
    """What a recipe with perceptual terms needs; empty for any other."""

    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For `Recipe.objective`."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The network's name and the SHA-256 of its weights: with others, it is another run."""


def perceptual_terms(
    recipe: Recipe,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
) -> PerceptualTerms:
    """Load LPIPS where a term of the recipe asks for it: `network = "vgg"`, the default, or "alex".

    Raises:
        NotFound: its weights are not here. The message says how to get them.
        BadRecipe: there is no such network, or two terms ask for different ones.
    """
    objective = recipe.words.get("objective")
    terms = objective.get("terms") if isinstance(objective, Mapping) else None
    found = [
        words.get(SETTING, VGG.name) if isinstance(words, Mapping) else VGG.name
        for name, words in (terms.items() if isinstance(terms, Mapping) else ())
        if (words.get("term", name) if isinstance(words, Mapping) else name) == TERM
    ]
    if not found:
        return PerceptualTerms()
    backbone = next((each for each in BACKBONES if all(name == each.name for name in found)), None)
    if backbone is None:
        raise BadRecipe(
            f"The recipe {recipe.name} asks for LPIPS of {legible(', '.join(map(str, found)))}.",
            f"There is one network for all terms: {' or '.join(each.name for each in BACKBONES)}.",
            "",
        )
    network = load_perceptual(backbone).lpips.to(device)
    return PerceptualTerms({TERM: {SETTING: network}}, {f"lpips_{backbone.name}": weights_digest(network)})


def weights_digest(network: LPIPS) -> str:
    """SHA-256 over the values, whatever file they came from."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
