"""Identify the diffusion model of a whole checkpoint, which determines the normalization where VAE shapes cannot.

SD1's and SDXL's VAEs have the same shapes, as do SD3's and FLUX.1's, but their denoisers differ. The facts are in
`host_models.toml`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from vaekit.catalog.entries import LatentSpace, latent_spaces
from vaekit.catalog.tables import table
from vaekit.formats.open import TensorSpec

SIGN_LISTS = ("denoiser", "inputs", "text", "unless")
"""The keys of a table entry that hold tensor signatures, in the order of `HostModel`."""


@dataclass(frozen=True)
class HostSignature:
    """A tensor that distinguishes one model from others."""

    key: str
    columns: tuple[int, ...] = ()
    """The allowed sizes of its second axis; empty if the name suffices."""

    def is_in(self, specs: Mapping[str, TensorSpec]) -> bool:
        """Whether a tensor of this name and size is among these, behind any prefix."""
        return any(self.allows(spec) for spec in self.matches(specs))

    def is_contradicted(self, specs: Mapping[str, TensorSpec]) -> bool:
        """Whether a tensor of this name has another size. Packed 4-bit weights have no second axis to compare."""
        return any(spec.dtype.is_floating_point and not self.allows(spec) for spec in self.matches(specs))

    def allows(self, spec: TensorSpec) -> bool:
        """Whether a tensor has one of the sizes."""
        return not self.columns or spec.shape[1:2] in [(size,) for size in self.columns]

    def matches(self, specs: Mapping[str, TensorSpec]) -> Iterator[TensorSpec]:
        """The tensors of this name, behind any prefix."""
        inside = "." + self.key
        return (spec for key, spec in specs.items() if key.startswith(self.key) or inside in key)


@dataclass(frozen=True)
class HostModel:
    """A diffusion model whose checkpoints include a VAE."""

    name: str
    space: str
    """The name of its latent space."""
    vae: str
    """The prefix of the VAE in its checkpoints."""
    denoiser: tuple[HostSignature, ...]
    inputs: tuple[HostSignature, ...]
    """The first layers of the denoiser: if one is present, it has one of the listed input sizes."""
    text: tuple[HostSignature, ...]
    unless: tuple[HostSignature, ...]

    @property
    def latent_space(self) -> LatentSpace | None:
        """The latent space, if the catalog has it."""
        return next((space for space in latent_spaces() if space.name == self.space), None)


@cache
def host_models() -> tuple[HostModel, ...]:
    """Every model in the table."""
    return tuple(
        HostModel(entry["name"], entry["space"], entry["vae"], *(_signs(entry, name) for name in SIGN_LISTS))
        for entry in table("host_models.toml")["model"]
    )


@dataclass(frozen=True)
class HostNormalization:
    """A normalization that whole checkpoints store in tensors beside their VAE."""

    mean: str
    std: str
    """The names of the mean and standard deviation of each channel of raw latents."""
    to_std: float
    """The standard deviation that the model's latents have."""

    @property
    def names(self) -> tuple[str, str]:
        """Both names."""
        return self.mean, self.std


@cache
def host_normalizations() -> tuple[HostNormalization, ...]:
    """Every such normalization in the table."""
    return tuple(HostNormalization(**entry) for entry in table("host_models.toml")["normalization"])


def _signs(entry: Mapping[str, Any], name: str) -> tuple[HostSignature, ...]:
    return tuple(HostSignature(sign["key"], tuple(sign.get("columns", ()))) for sign in entry.get(name, ()))


def host_model_of(specs: Mapping[str, TensorSpec]) -> HostModel | None:
    """The diffusion model of a checkpoint with these tensors; None if it is unknown or signatures disagree.

    The denoiser is checked first: it consumes the latents. Text encoders are shared by models and may be replaced.
    """
    candidates = [model for model in host_models() if not is_excluded(model, specs)]
    for signs in (attrgetter("denoiser"), attrgetter("text")):
        matching = [model for model in candidates if any(sign.is_in(specs) for sign in signs(model))]
        if matching:
            return matching[0] if len(matching) == 1 else None
    return None


def is_excluded(model: HostModel, specs: Mapping[str, TensorSpec]) -> bool:
    """Whether these tensors contradict this model."""
    return any(sign.is_in(specs) for sign in model.unless) or any(sign.is_contradicted(specs) for sign in model.inputs)
