"""Load VAEs of ComfyUI's models folder."""

from pathlib import Path

import vaekit
from vaekit import LatentNormalization
from vaekit.catalog.entries import latent_spaces
from vaekit.errors import LatentMismatch
from vaekit.identification.inspect import Inspection

from . import host
from .engine_vae import EngineVAE

BUILT_IN = "vaekit's built-in VAE"
AUTOMATIC = "the VAE's own"
MODELS = {"SD1": "SD1 / SD2", "SDXL": "SDXL", "SD3": "SD3", "FLUX.1": "FLUX.1"}
"""Models that VAEs with normalized latents are made for, and the names of their latent spaces begin so."""
NORMALIZED = "tiny"
"""The family whose raw latents are the normalized ones of a diffusion model."""


def names() -> list[str]:
    """What can be loaded."""
    return [*host.vae_files(), BUILT_IN]


def source(name: str) -> Path | str:
    """The name or path for vaekit of one of the names."""
    return "builtin" if name == BUILT_IN else host.vae_path(name)


def load(name: str, memory: str = "", dtype: str = "fp32", latents: str = AUTOMATIC) -> EngineVAE:
    """A VAE for other nodes.

    Args:
        name: one of `names`.
        memory: the memory limit for an image, such as "2GiB"; empty for what is free.
        dtype: "fp32", "bf16" or "fp16".
        latents: one of `MODELS`, for a VAE whose latents are normalized.

    Raises:
        LatentMismatch: the latents of the VAE are normalized ones, and the model is not stated, or another one.
        VaekitError: the file holds no VAE that can be run, or the memory is not valid.
    """
    where = source(name)
    found = vaekit.inspect(where)
    return EngineVAE(vaekit.load(where), memory.strip() or None, dtype, space_of(found, latents))


def space_of(found: Inspection, latents: str) -> LatentNormalization | None:
    """The normalization of the model that a VAE with normalized latents is made for; None for other VAEs."""
    if found.family != NORMALIZED:
        return None
    title = ", ".join(found.candidate_models)
    own = found.normalization
    if own is None:
        raise LatentMismatch(
            f"This is {title}, whose normalization is in the file of the full VAE.",
            "ComfyUI needs it to convert latents.",
            "Use the full VAE.",
        )
    if latents == AUTOMATIC:
        raise LatentMismatch(
            f"This is {title}: its latents are normalized as those of the model are.",
            f"Expected the model: {', '.join(MODELS)}.",
            "Choose it as `latents` of the node.",
        )
    space = next(space for space in latent_spaces() if space.name.startswith(MODELS[latents]) and space.normalization)
    if space.match.get("latent_channels", found.latent_channels) != found.latent_channels:
        raise LatentMismatch(
            f"This is {title}, with {found.latent_channels} channels.", f"Those of {latents} have others.", ""
        )
    return space.normalization
