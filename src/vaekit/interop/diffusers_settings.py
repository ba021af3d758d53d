"""The `vae.config` for diffusers pipelines, for any VAE with a known normalization."""

import math
from typing import Any

from vaekit.catalog.entries import LatentSpace, latent_spaces, matching_latent_spaces
from vaekit.errors import UnknownNormalization, WrongTensors, counted, printable
from vaekit.families import Config, Family
from vaekit.normalization import LatentNormalization


def settings_for(family: Family, config: Config, normalization: LatentNormalization) -> dict[str, Any]:
    """The config of diffusers' class for these networks, or the entries common to all classes if there is none.

    Three entries differ from a `config.json` of diffusers, in the pipeline's favor: a shift of zero is 0.0 and not
    null (SD3's and FLUX's pipelines add it), means and standard deviations are null if missing (SDXL's pipeline reads
    both), and `block_out_channels` exists for all families (pipelines derive the factor from its length).

    Raises:
        BadItem: the VAE is not an image VAE.
    """
    config.geometry.require_axes(2, "images")
    try:
        settings = family.diffusers(config, normalization)
    except WrongTensors:
        channels = config.geometry.channels
        settings = {"_class_name": "", "in_channels": channels, "out_channels": channels}
        settings |= normalization_settings(normalization)
    settings.setdefault("latent_channels", config.geometry.latent_channels)
    settings.setdefault("latents_mean", None)
    settings.setdefault("latents_std", None)
    if "scaling_factor" in settings:
        settings["shift_factor"] = settings.get("shift_factor") or 0.0
    settings.setdefault("block_out_channels", block_out_channels(config))
    return settings


def normalization_settings(normalization: LatentNormalization) -> dict[str, Any]:
    """The entries of a diffusers config; empty for one that rearranges, which pipelines take from `vae.bn` instead."""
    from vaekit.families.normalization import diffusers_normalization

    return {} if normalization.patch > 1 else diffusers_normalization(normalization)


def block_out_channels(config: Config) -> list[int]:
    """One width per level. Pipelines use only their number n: the factor is 2 ** (n - 1)."""
    levels = round(math.log2(config.geometry.factors[0])) + 1
    widths = list(getattr(config, "encoder_widths", ()))
    return widths if len(widths) == levels else [config.geometry.latent_channels] * levels


def chosen_normalization(
    family: Family,
    config: Config,
    own: LatentNormalization | None,
    normalization: LatentNormalization | None,
    latent_space: str | None,
) -> LatentNormalization:
    """The given normalization, else that of the named latent space, else the VAE's own.

    Raises:
        UnknownNormalization: there is none, or the latent space has other shapes.
    """
    fitting = [
        candidate for candidate in matching_latent_spaces(family.name, config) if candidate.normalization is not None
    ]
    if normalization is None and latent_space is not None:
        normalization = normalization_of_space(latent_space, fitting, family, config)
    chosen = normalization if normalization is not None else own
    if chosen is None:
        names = " or ".join(f'latent_space="{candidate.name}"' for candidate in fitting)
        raise UnknownNormalization(
            f"The latent normalization of this {family.name!r} VAE ({config.geometry.latent_text}) is "
            "unknown: neither its file nor its shapes determine it.",
            "Expected the scale and shift; wrong values produce washed-out or broken images.",
            f"Pass {names + ', or ' if names else ''}normalization=vaekit.LatentNormalization(shift=(...,), "
            "scale=(...,)).",
        )
    return chosen


def normalization_of_space(
    name: str, fitting: list[LatentSpace], family: Family, config: Config
) -> LatentNormalization:
    """The normalization of the latent space of this name, if it has the shapes of the VAE.

    Raises:
        UnknownNormalization: there is no such latent space, it has other shapes, or no fixed normalization.
    """
    space = next((space for space in fitting if answers_to(space, name)), None)
    if space is not None and space.normalization is not None:
        return space.normalization
    other = next((space for space in latent_spaces() if answers_to(space, name)), None)
    here = f"{' or '.join(space.name for space in fitting) or 'no latent space with a known normalization'}"
    raise UnknownNormalization(
        f"This is a {family.name!r} VAE with {counted(config.geometry.latent_channels, 'latent channel')}, shaped "
        f"like {here}, "
        f"and not {other.name if other else printable(repr(name))}.",
        "Expected a latent space with the shapes of this VAE and a known normalization.",
        "Give another latent space, or normalization=vaekit.LatentNormalization(...).",
    )


def answers_to(space: LatentSpace, name: str) -> bool:
    """Whether this is the name of a latent space or of one of its models: "SD1" matches "SD1 / SD2"."""
    names = {space.name, *space.name.split(" / ")}
    return name.casefold() in {each.casefold() for each in names}
