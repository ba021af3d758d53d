"""The checkpoint around a VAE: which diffusion model it is tells the normalization that no VAE's shapes can tell.

SD1's and SDXL's VAEs have the same shapes, and so have SD3's and FLUX.1's; their denoisers have not. The facts stand in
`models.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from operator import attrgetter
from typing import Any

from vaekit.checkpoints.cards import Kind, kinds
from vaekit.checkpoints.formats.files import TensorSpec

TOLD_BY = ("denoiser", "text", "unless")
"""The columns of the table that hold signs, in the order of `Model`."""


@dataclass(frozen=True)
class Sign:
    """A tensor that only one model has."""

    key: str
    columns: int | None = None
    """The second side of that tensor, where the name alone does not tell."""

    def is_in(self, specs: Mapping[str, TensorSpec]) -> bool:
        """Whether a tensor of this name and width is among these, behind whatever prefix."""
        inside = "." + self.key
        met = (spec for key, spec in specs.items() if key.startswith(self.key) or inside in key)
        return any(self.columns is None or spec.shape[1:2] == (self.columns,) for spec in met)


@dataclass(frozen=True)
class Model:
    """A diffusion model whose checkpoints bring a VAE along."""

    name: str
    kind: str
    """The name of its latent space."""
    vae: str
    """The prefix of the VAE in its checkpoints."""
    denoiser: tuple[Sign, ...]
    text: tuple[Sign, ...]
    unless: tuple[Sign, ...]

    @property
    def latent_space(self) -> Kind | None:
        """The latent space, if the table of kinds has it."""
        return next((kind for kind in kinds() if kind.name == self.kind), None)


@cache
def models() -> tuple[Model, ...]:
    """Every model in the table."""
    table = tomllib.loads(resources.files("vaekit.checkpoints").joinpath("models.toml").read_text("utf-8"))
    return tuple(
        Model(entry["name"], entry["kind"], entry["vae"], *(_signs(entry, told) for told in TOLD_BY))
        for entry in table["model"]
    )


def _signs(entry: Mapping[str, Any], told: str) -> tuple[Sign, ...]:
    return tuple(Sign(**sign) for sign in entry.get(told, ()))


def model_around(specs: Mapping[str, TensorSpec]) -> Model | None:
    """The model that a checkpoint with these tensors is of; None where nothing tells, or two signs disagree.

    The denoiser is asked first: it is what takes the latents. Text encoders get exchanged, and are shared by models.
    """
    open_to = [model for model in models() if not any(sign.is_in(specs) for sign in model.unless)]
    for signs in (attrgetter("denoiser"), attrgetter("text")):
        found = [model for model in open_to if any(sign.is_in(specs) for sign in signs(model))]
        if found:
            return found[0] if len(found) == 1 else None
    return None
