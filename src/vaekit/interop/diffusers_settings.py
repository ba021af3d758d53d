"""What a diffusers pipeline reads from `vae.config`, for any VAE whose normalization is known."""

import math
from typing import Any

from vaekit.catalog.entries import LatentSpace, latent_spaces, matching_latent_spaces
from vaekit.errors import UnknownNormalization, WrongTensors, printable
from vaekit.families import Config, Family
from vaekit.normalization import LatentNormalization


def settings_for(family: Family, config: Config, normalization: LatentNormalization) -> dict[str, Any]:
    """The config of diffusers' class for these nets, or the entries that every class has where there is no such class.

    Three entries differ from a `config.json` of diffusers, in the pipeline's favor: a shift of zero is 0.0 and not
    null (SD3's and FLUX's pipelines add it), means and deviations are null where there are none (SDXL's pipeline asks
    for both), and there are `block_out_channels` whatever the family (pipelines count them to learn the factor).

    Raises:
        BadItem: the VAE takes no images.
    """
    config.geometry.require_axes(2, "images")
    try:
        told = family.diffusers(config, normalization)
    except WrongTensors:
        channels = config.geometry.channels
        told = {"_class_name": "", "in_channels": channels, "out_channels": channels}
        told |= normalization_settings(normalization)
    told.setdefault("latent_channels", config.geometry.latent_channels)
    told.setdefault("latents_mean", None)
    told.setdefault("latents_std", None)
    if "scaling_factor" in told:
        told["shift_factor"] = told.get("shift_factor") or 0.0
    told.setdefault("block_out_channels", block_out_channels(config))
    return told


def normalization_settings(normalization: LatentNormalization) -> dict[str, Any]:
    """The entries of a diffusers config; empty for one that rearranges, which pipelines take from `vae.bn` instead."""
    from vaekit.families.normalization import diffusers_normalization

    return {} if normalization.patch > 1 else diffusers_normalization(normalization)


def block_out_channels(config: Config) -> list[int]:
    """One width for each level. Pipelines read only how many there are: the factor is 2 to the power of one less."""
    levels = round(math.log2(config.geometry.factors[0])) + 1
    widths = list(getattr(config, "encoder_widths", ()))
    return widths if len(widths) == levels else [config.geometry.latent_channels] * levels


def chosen_normalization(
    family: Family,
    config: Config,
    own: LatentNormalization | None,
    normalization: LatentNormalization | None,
    kind: str | None,
) -> LatentNormalization:
    """The normalization that was given, else that of the kind that was named, else the VAE's own.

    Raises:
        UnknownNormalization: nobody says, or the kind is not of this shape.
    """
    fitting = [
        candidate for candidate in matching_latent_spaces(family.name, config) if candidate.normalization is not None
    ]
    if normalization is None and kind is not None:
        normalization = normalization_of_kind(kind, fitting, family, config)
    chosen = normalization if normalization is not None else own
    if chosen is None:
        names = " or ".join(f'kind="{candidate.name}"' for candidate in fitting)
        raise UnknownNormalization(
            f"How a diffusion model sees the latents of this {family.name!r} VAE ({config.geometry.latent_text}) is "
            "not known: neither its file nor its shapes tell.",
            "Expected the scale and shift; a pipeline with wrong ones makes washed-out or broken images.",
            f"Pass {names + ', or ' if names else ''}normalization=vaekit.LatentNormalization(shift=(...,), "
            "scale=(...,)).",
        )
    return chosen


def normalization_of_kind(name: str, fitting: list[LatentSpace], family: Family, config: Config) -> LatentNormalization:
    """The normalization of the kind of this name, if it has the shape of the VAE's.

    Raises:
        UnknownNormalization: there is no such kind, it has other shapes, or no normalization of its own.
    """
    kind = next((kind for kind in fitting if answers_to(kind, name)), None)
    if kind is not None and kind.normalization is not None:
        return kind.normalization
    other = next((kind for kind in latent_spaces() if answers_to(kind, name)), None)
    here = f"{' or '.join(kind.name for kind in fitting) or 'no kind with a normalization of its own'}"
    raise UnknownNormalization(
        f"This is a {family.name!r} VAE with {config.geometry.latent_channels} latent channels, shaped like {here}, "
        f"and not {other.name if other else printable(repr(name))}.",
        "Expected a kind whose shapes the VAE has, and whose normalization is known.",
        "Name another kind, or give normalization=vaekit.LatentNormalization(...).",
    )


def answers_to(kind: LatentSpace, name: str) -> bool:
    """Whether a kind has this name, or it is one of the models in it: "SD1" is "SD1 / SD2"."""
    names = {kind.name, *kind.name.split(" / ")}
    return name.casefold() in {each.casefold() for each in names}
