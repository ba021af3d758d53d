"""Check that a VAE has the latent space of a checkpoint; any other VAE decodes wrong colors or noise.

Known properties must agree: family, channels, factor, normalization. Unknown properties are not assumed to agree.
"""

import torch

from vaekit.errors import LatentMismatch, WrongTensors, counted, printable
from vaekit.families import Config
from vaekit.formats.safetensors_writer import Piece, computable
from vaekit.identification.host_model import HostModel
from vaekit.identification.identify import Identified
from vaekit.identification.weights import StoredWeights, in_dtype, weights_in


def check_values(new: Identified, own: Identified, any_family: bool = False) -> None:
    """Reject a VAE of another family than the checkpoint's own, or with latents of another shape.

    Args:
        new: the VAE.
        own: that of the checkpoint.
        any_family: accept other families, of which some have the same latents: TAESD those of SD1.

    Raises:
        LatentMismatch: family or shape differ.
    """
    given, expected = (
        {"image channels": each.channels, "latent channels": each.latent_channels, "factor": each.factor_text}
        for each in (new.config.geometry, own.config.geometry)
    )
    differences = [
        f"{name} {given[name]} instead of {expected[name]}" for name in given if given[name] != expected[name]
    ]
    if new.family.name != own.family.name and not any_family:
        differences.insert(0, f"a {new.family.name!r} autoencoder instead of a {own.family.name!r} one")
    if differences:
        raise mismatch(new, title(own), "; ".join(differences))


def check_latent_space(new: Identified, host: HostModel) -> None:
    """Reject a VAE whose shape does not fit a checkpoint of this model.

    Raises:
        LatentMismatch: the shape differs.
    """
    space = host.latent_space
    if space is not None and not space.fits(new.family.name, new.config):
        raise mismatch(new, f"{host.name}'s", f"{describe_shape(new.family.name, new.config)}")


def check_normalization(new: Identified, own: Identified | None, host: HostModel | None, assume_same: bool) -> str:
    """Check that the normalizations agree; returns a note if this had to be inferred, assumed or left unverified.

    Raises:
        LatentMismatch: they differ; or the VAE's is unknown, and only its shape matches.
    """
    space = host.latent_space if host is not None else None
    expected = own.normalization if own is not None else space.normalization if space is not None else None
    checkpoint = title(own) if own is not None else f"{host.name}'s" if host is not None else "unknown"
    if new.normalization is not None and expected is not None:
        if not new.normalization.is_close(expected, channels=new.config.geometry.latent_channels):
            raise mismatch(
                new,
                checkpoint,
                f"{new.normalization} (from {new.normalization_source}) instead of {expected}",
            )
        return ""
    if expected is None:
        return "The checkpoint's normalization is unknown, so it could not be verified that the VAE has the same."
    half = next((half for half in new.halves if own is not None and is_same_half(new, own, half)), None)
    if half is not None:
        return f"The VAE's own normalization is unknown, but its {half}, and so its latents, are the checkpoint's."
    if assume_same:
        return f"The VAE's own normalization is unknown and assumed to be the checkpoint's ({expected}), as requested."
    raise LatentMismatch(
        f"The normalization of {printable(str(new.path))} is unknown: {new.normalization_source}.",
        f"The checkpoint's latents are {checkpoint} ({expected}), and a VAE with another normalization would give "
        "wrong colors.",
        "`vaekit inspect` measures its latent space. If you know that it has the same normalization, pass "
        "--assume-same-normalization.",
    )


def is_same_half(new: Identified, own: Identified, half: str) -> bool:
    """Whether both VAEs have the same half, bit for bit in the checkpoint's dtype."""
    one, other = (_of_half(weights_in(vae), half) for vae in (new, own))
    if one.keys() != other.keys() or any(one[key].shape != other[key].shape for key in one):
        return False
    try:
        values = ((in_dtype(one[key], other[key].dtype).tensor(), other[key].tensor()) for key in one)
        return all(torch.equal(computable(a), computable(b)) for a, b in values)
    except WrongTensors:  # overflow in this dtype: not the same
        return False


def _of_half(weights: StoredWeights, half: str) -> dict[str, Piece]:
    return {key: piece for key, piece in weights.tensors.items() if key.startswith(half + ".")}


def title(vae: Identified) -> str:
    """The name of a VAE's latent space, as far as it is known."""
    if vae.host is not None:
        return f"{vae.host.name}'s"
    names = " or ".join(space.name for space in vae.latent_spaces)
    return f"of the latent space {names}" if names else "of an unnamed latent space"


def describe_shape(family: str, config: Config) -> str:
    """A description of the shape of images and latents."""
    shape = config.geometry
    channels = counted(shape.channels, "channel")
    return f"a {family!r} autoencoder of images with {channels}, and latents with {shape.latent_text}"


def mismatch(new: Identified, checkpoint: str, difference: str) -> LatentMismatch:
    """The error for a VAE that is incompatible with a checkpoint."""
    return LatentMismatch(
        f"{printable(str(new.path))} uses a different latent space from the checkpoint: {difference}.",
        f"The VAE's latents are {title(new)}, the checkpoint's are {checkpoint}; a diffusion model works with "
        "the latents that it was trained on, and no conversion exists.",
        "Use a VAE that was made for this type of checkpoint.",
    )
