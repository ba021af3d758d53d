"""Between raw latents and what other programs store, and which of their families a VAE belongs to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.catalog.entries import latent_spaces_with
from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, LatentMismatch, UnknownNormalization
from vaekit.latent_cache.foreign.likely import applied, repeated
from vaekit.latent_cache.foreign.mark import OriginMark
from vaekit.latent_cache.foreign.records import CacheFormat, Stored, Variant
from vaekit.latent_cache.statistics import LatentStatistics
from vaekit.normalization import LatentNormalization
from vaekit.vae import denormalize, normalize

IMAGE_AXES = (2, 3)
"""The number of axes of items that those programs cache: images, and videos of which an image is one frame."""
SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class Choice:
    """A family of a program's models, for the latents of a VAE."""

    variant: Variant
    notes: tuple[str, ...] = ()


def spaces_of(origin: LatentOrigin) -> tuple[str, ...]:
    """The names of the latent spaces that a VAE may have.

    These are the spaces of its normalization, whatever their family, since several decoders share latents; else those
    of its family whose normalization is in the VAE's file.
    """
    shape, normalization = origin.geometry, origin.normalization
    if normalization is not None:
        known = latent_spaces_with(shape.latent_channels, None, normalization, shape.channels)
        same = tuple(space.name for space in known if space.normalization is not None)
        if same:
            return same
    of_family = latent_spaces_with(shape.latent_channels, origin.family, normalization, shape.channels)
    return tuple(space.name for space in of_family if space.normalization is not None or space.normalization_in)


def stored_shape(origin: LatentOrigin, variant: Variant) -> tuple[int, int]:
    """Channels and factor of the latents of a VAE as a variant stores them."""
    shape, normalization = origin.geometry, origin.normalization
    patch = normalization.patch if normalization is not None and variant.stored is Stored.NORMALIZED else 1
    return shape.latent_channels * patch**2, shape.factors[-1] * patch


def fits_shape(origin: LatentOrigin, variant: Variant) -> bool:
    """Whether a VAE's latents have the channels and the factor of a variant."""
    channels, factor = stored_shape(origin, variant)
    return variant.channels in (0, channels) and variant.factor in (0, factor)


def choose(found: CacheFormat, wanted: Variant | None, origin: LatentOrigin) -> Choice:
    """The variant in which a program keeps the latents of a VAE.

    Args:
        found: the program's format.
        wanted: the variant that the user names, if any.
        origin: the VAE.

    Raises:
        LatentMismatch: the wanted variant is for VAEs with other latents.
        BadLatent: the latents are not those of images.
        UnknownNormalization: normalized latents are needed, and the VAE's normalization is unknown.
    """
    if origin.geometry.axes not in IMAGE_AXES:
        raise BadLatent(
            f"The cache holds latents of items without height and width: {origin.geometry.batch_text}.",
            f"{found.title} keeps latents of images.",
            "",
        )
    spaces = spaces_of(origin)
    usable = [each for each in found.variants if not each.no_export]
    exact = [
        each for each in usable if fits_shape(origin, each) and (not each.spaces or set(each.spaces) & set(spaces))
    ]
    alike = [each for each in usable if fits_shape(origin, each)]
    best_first = [*(each for each in exact if each.spaces), *exact, *alike, usable[0]]
    possible = [each for each in best_first if each.stored is Stored.RAW or origin.normalization is not None]
    variant = wanted or next(iter(possible or best_first))
    if wanted is not None and variant not in (exact if spaces else alike):
        names = ", ".join(f"{found.name}:{each.name}" for each in exact or alike)
        channels, factor = stored_shape(origin, variant)
        raise LatentMismatch(
            f"The latents of this VAE ({' or '.join(spaces) or 'of no known kind'}; {channels} channels at 1/{factor} "
            f"size) are not those that {found.name}:{variant.name} holds, which are of "
            f"{' or '.join(variant.spaces)} ({variant.channels} channels at 1/{variant.factor} size).",
            f"Expected {names}." if names else f"{found.title} has no family of models with this VAE.",
            "Choose another format, or encode the data with another VAE.",
        )
    check_normalization(origin, variant, found)
    return Choice(variant, notes_on(found, variant, exact, wanted, origin))


def notes_on(
    found: CacheFormat, variant: Variant, exact: list[Variant], wanted: Variant | None, origin: LatentOrigin
) -> tuple[str, ...]:
    """What the user should know about a choice."""
    notes = []
    others = [f"{found.name}:{each.name}" for each in exact if each != variant and each.spaces]
    if others and wanted is None:
        notes.append(f"other models use such latents, too: choose among {', '.join(others)} if one of them is meant")
    if variant not in exact:
        channels, factor = stored_shape(origin, variant)
        notes.append(
            f"{found.title} does not know this VAE ({channels} channels at 1/{factor} size): its models of "
            f"{variant.name} were not made for such latents"
        )
    return tuple(notes)


def check_normalization(origin: LatentOrigin, variant: Variant, found: CacheFormat) -> None:
    """Check that the latents of a VAE can be converted to those of a variant.

    Raises:
        UnknownNormalization: they would have to be normalized, and it is unknown how.
    """
    if variant.stored is Stored.NORMALIZED and origin.normalization is None:
        raise UnknownNormalization(
            f"{found.name}:{variant.name} holds normalized latents, and the normalization of this VAE is unknown.",
            "Expected a VAE whose file states a scale and a shift.",
            "Set it: `vae.normalization = vaekit.LatentNormalization(...)`, and save the VAE; or choose a format with "
            "raw latents.",
        )


def to_stored(raw: Tensor, variant: Variant, normalization: LatentNormalization | None) -> Tensor:
    """Raw latents (z, *latent size) of one item as a variant stores them.

    Raises:
        BadLatent: a video, or positions that cannot be rearranged.
    """
    if raw.dim() > 3 and raw.shape[1] != 1:
        raise BadLatent(f"The latents have {raw.shape[1]} frames.", "Expected those of an image.", "")
    flat = raw[:, 0] if raw.dim() > 3 else raw
    if variant.stored is Stored.NORMALIZED and normalization is not None:
        if any(side % normalization.patch for side in flat.shape[1:]):
            raise BadLatent(
                f"The latents are {flat.shape[2]}x{flat.shape[1]}.",
                f"Expected sides that are multiples of {normalization.patch}.",
                "Cache the data in other sizes.",
            )
        flat = normalize(flat[None], normalization)[0]
    return (flat[:, None] if variant.frames else flat).contiguous()


def to_raw(stored: Tensor, variant: Variant, origin: LatentOrigin) -> Tensor:
    """The inverse of `to_stored` for a VAE: raw latents (z, *latent size).

    Raises:
        BadLatent: a video.
        LatentMismatch: the latents have other channels than the VAE's.
    """
    if stored.dim() > 3 and stored.shape[1] != 1:
        raise BadLatent(f"It holds {stored.shape[1]} frames.", "Expected the latents of an image.", "")
    flat = stored[:, 0] if stored.dim() > 3 else stored
    channels, _ = stored_shape(origin, variant)
    if len(flat) != channels:
        raise LatentMismatch(
            f"It has {len(flat)} channels instead of {channels}.", "Expected latents of the given VAE.", ""
        )
    if variant.stored is Stored.NORMALIZED and origin.normalization is not None:
        flat = denormalize(flat[None], origin.normalization)[0]
    return (flat[:, None] if origin.geometry.axes == max(IMAGE_AXES) else flat).to(torch.float32).contiguous()


def mark_of(origin: LatentOrigin, statistics: LatentStatistics | None, variant: Variant) -> OriginMark:
    """The mark of exported files: the VAE, and the statistics of the cache as the variant stores latents."""
    z = origin.geometry.latent_channels
    mean, std = (statistics.mean, statistics.std) if statistics else ((0.0,) * z, (1.0,) * z)
    normalization = origin.normalization
    if variant.stored is Stored.NORMALIZED and normalization is not None:
        channels = z * normalization.patch**2
        mean, std = applied(repeated(mean, normalization), repeated(std, normalization), normalization, channels)
    return OriginMark(origin.fingerprint, tuple(mean), tuple(max(each, SMALLEST_STD) for each in std))
