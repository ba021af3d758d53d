"""Run all checks of a VAE."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from vaekit.catalog.entries import CatalogEntry
from vaekit.doctor.channels import check_channels
from vaekit.doctor.equivariance import check_equivariance
from vaekit.doctor.findings import Finding, skipped
from vaekit.doctor.finite import check_activations, check_weights
from vaekit.doctor.flat_areas import check_border, check_grid
from vaekit.doctor.halves import check_match
from vaekit.doctor.normalization import check_normalization
from vaekit.doctor.observe import SIDE, Observation, observe
from vaekit.doctor.precision import check_range, check_rounding
from vaekit.doctor.smoothness import check_smoothness
from vaekit.vae import VAE

Check = Callable[[Observation], Finding]

CHECKS = (
    *("weights", "activations", "fp16_range", "rounding", "normalization", "channels", "match", "equivariance"),
    *("smoothness", "grid", "border"),
)
"""The names of all checks, in order."""
OF_IMAGES = frozenset({"match", "equivariance", "smoothness", "grid", "border"})
"""The checks that compare pixels. Of sounds, reconstructions may have other phases, so that differences of samples say
little."""


def examine(
    vae: VAE, images: Tensor | None = None, entry: CatalogEntry | None = None, side: int = SIDE
) -> Iterator[Finding]:
    """Run every check on a VAE and yield each finding when it is available. The VAE is not modified.

    If activations are non-finite, the checks that compute with them are skipped. Checks that do not apply
    (a decoder alone has no round trip) are skipped, too, with a reason.

    Args:
        vae: any VAE of images or of sounds, whole or half.
        images: the user's, see `observe`.
        entry: the catalog entry of these weights.
        side: of the built-in images, in pixels.
    """
    weights = check_weights(vae)
    yield weights
    observation = observe(vae, images, side)
    yield check_activations(observation)
    checks: dict[str, Check] = {
        "fp16_range": partial(check_range, entry=entry),
        "rounding": check_rounding,
        "normalization": partial(check_normalization, entry=entry),
        "channels": check_channels,
        "match": check_match,
        "equivariance": check_equivariance,
        "smoothness": check_smoothness,
        "grid": check_grid,
        "border": check_border,
    }
    healthy = weights.status == "ok" and observation.finite
    for name, check in checks.items():
        if observation.of_sounds and name in OF_IMAGES:
            yield skipped(name, "only checked for images")
        else:
            yield check(observation) if healthy else skipped(name, "not checked, because activations are non-finite")
