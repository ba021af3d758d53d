"""Decode latents of a diffusion model with another VAE than its own: refused if it has another latent space."""

from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.latent_files import check_readable
from vaekit.diffusion.files import DiffusionFile
from vaekit.errors import LatentMismatch, VaekitError
from vaekit.tasks.latent_space import EncodedSpace

LARGEST_DISTANCE = 0.5
"""Of what two VAEs decode from the same latents, relative to the distance between different latents of one of them.
Fine-tuned decoders and small ones made for a latent space are below 0.1; a VAE trained from another seed is about 1."""


def check_swap(file: DiffusionFile, own: EncodedSpace | None, other: EncodedSpace, name: str) -> list[str]:
    """Check that another VAE decodes the latents of a model as its own VAE does; returns notes.

    Identities are compared first: weights, channels, factor, normalization. As two VAEs that were trained alike can
    agree in all but the weights, both then decode a few latents of the training data.

    Args:
        file: the model.
        own: the VAE that it was trained with; None if its file is missing.
        other: the other VAE.
        name: of the other VAE, for messages.

    Raises:
        LatentMismatch: it has another latent space.
    """
    origin = file.facts.origin
    assert origin is not None
    if other.origin.fingerprint == origin.fingerprint:
        return []
    caution = check_readable(Path("A latent of the model"), origin, other.origin)
    if own is None:
        return [caution or "The VAE of the model is missing, so that decoded latents could not be compared."]
    distance = decoded_distance(file.examples, file.facts.item_size, own, other)
    if not distance <= LARGEST_DISTANCE:
        raise LatentMismatch(
            f"{name} decodes the latents that the model was trained on to other {own.domain.items} than the own VAE of "
            f"the model: they differ {distance:.0%} as much as different {own.domain.items} do.",
            f"Expected a VAE with the same latent space, at most {LARGEST_DISTANCE:.0%}.",
            "Use the model's own VAE, a fine-tune of it, or one whose decoder was made for its latents.",
        )
    return [f"Decoded by another VAE ({name}), which agrees with the model's own to {distance:.1%}."]


def decoded_distance(z: Tensor, size: tuple[int, ...], own: EncodedSpace, other: EncodedSpace) -> float:
    """The mean squared distance of what two VAEs decode from latents (b, z, ...), relative to that between different
    latents decoded by the first one; of tokens, the shares of different ones. Infinite for items of another shape.
    """
    expected = own.decode(z, size)
    try:
        decoded = other.decode(z, size)
    except VaekitError:  # not finite, say
        return float("inf")
    upscale = other.model.engine.geometry.upscale
    if upscale > 1:
        decoded = F.avg_pool2d(decoded, upscale)
    if decoded.shape != expected.shape or decoded.is_floating_point() != expected.is_floating_point():
        return float("inf")
    among = difference(expected, expected.roll(1, 0)) if len(expected) > 1 else expected.float().var(correction=0)
    return float(difference(expected, decoded) / among) if among > 0 else float("inf")


def difference(one: Tensor, other: Tensor) -> Tensor:
    """The mean squared difference, or the share of different tokens."""
    return (one - other).square().mean() if one.is_floating_point() else (one != other).float().mean()
