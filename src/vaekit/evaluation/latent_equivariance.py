"""Equivariance of a VAE under half scale, flip and rotation; see `metrics/latent/equivariance`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaekit.evaluation.latent_paths import decoded
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.geometry import Geometry
from vaekit.metrics.latent.equivariance import HALF, TRANSFORMS, TURN, relative_error
from vaekit.metrics.measure import Measure

PLAIN = Measure(
    "reconstruction_error",
    "reconstruction",
    "of std",
    "zero",
    "|D(z) - x| / |x - mean|: the decoder's error without a transform.",
)
DECODER = {
    name: Measure(
        f"equivariance_decoder_{name}",
        f"equivariance, decoder, {name}",
        "of std",
        "zero",
        f"|D(T z) - T x| / |T x - mean|, T: {about}.",
    )
    for name, about in ((HALF, "half the size"), ("flip", "mirrored"), (TURN, "turned by 90 degrees"))
}
ENCODER = {
    name: Measure(
        f"equivariance_encoder_{name}",
        f"equivariance, encoder, {name}",
        "of std",
        "zero",
        f"|E(T x) - T z| / |T z - mean|, T: {about}.",
    )
    for name, about in ((HALF, "half the size"), ("flip", "mirrored"), (TURN, "turned by 90 degrees"))
}


def usable_transforms(geometry: Geometry) -> tuple[Sequence[str], Mapping[str, str]]:
    """The transforms that a VAE can be measured with, and why others cannot, by name of the quantity."""
    if geometry.axes != 2:
        return (), {"equivariance": "Items of this domain cannot be scaled, mirrored and turned."}
    if geometry.size is not None and set(geometry.latent_size(geometry.size)) == {1}:
        return (), {"equivariance": "The latent is one vector, which cannot be scaled, mirrored and turned."}
    reasons: dict[str, str] = {}
    names = list(TRANSFORMS)
    if geometry.size is not None:
        names.remove(HALF)
        reasons[DECODER[HALF].name] = reasons[ENCODER[HALF].name] = "This VAE takes items of one size only."
        if geometry.size[0] != geometry.size[1]:
            names.remove(TURN)
            reasons[DECODER[TURN].name] = reasons[ENCODER[TURN].name] = "The items of this VAE are not square."
    return names, reasons


def equivariance_measure(geometry: Geometry, names: Sequence[str]) -> ItemMeasure:
    """The errors of these transforms, relative to the spread of an item; not rounded, latents are the posterior's mode.

    Items are cropped at the right and at the bottom to an even number of latent positions, so that a transform of the
    latent is one of the item. Those with fewer than four positions along an axis have no values.
    """
    quantities = (PLAIN, *(table[name] for name in names for table in (DECODER, ENCODER)))

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        x = aligned(vae_pass.x, geometry)
        if min(geometry.latent_size(tuple(x.shape[2:])), default=0) < 4:
            return {quantity.name: torch.full((len(x),), torch.nan) for quantity in quantities}
        runner = vae_pass.runner
        z = runner.encode(x).mode
        cropped = VAEPass(vae_pass.names, x, runner, vae_pass.seed, sampled=False)
        values = {PLAIN.name: relative_error(decoded(cropped, z), x)}
        for name in names:
            moved, moved_z = TRANSFORMS[name](x).contiguous(), TRANSFORMS[name](z).contiguous()
            transformed = VAEPass(vae_pass.names, moved, runner, vae_pass.seed, sampled=False)
            values[DECODER[name].name] = relative_error(decoded(transformed, moved_z), moved)
            values[ENCODER[name].name] = relative_error(transformed.latents, moved_z)
        return values

    return ItemMeasure(quantities, compute, {"transforms": list(names), "decoded": "not rounded"})


def aligned(x: Tensor, geometry: Geometry) -> Tensor:
    """Items cropped to an even number of latent positions along both axes; those of a VAE of one size as they are."""
    if geometry.size is not None:
        return x
    rows, columns = (side - side % (2 * factor) for side, factor in zip(x.shape[2:], geometry.factors, strict=True))
    return x[:, :, :rows, :columns]
