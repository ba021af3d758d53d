"""Check equivariance: is decode(T z) = T decode(z) for shifts, flips, rotations and downscaling by 2?

Equivariant latents are easier for a diffusion model to learn; published VAEs are far from equivariant under scaling and
rotation (Kouzelis et al. 2025, "EQ-VAE", arXiv 2502.09509; Skorokhodov et al. 2025, arXiv 2502.14831). The values are
for comparing VAEs; low ones are not faults.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from vaekit.doctor.findings import Finding, skipped
from vaekit.doctor.observe import Observation, pooled_psnr

IMAGES = 2
"""The number of images; more change the result by less than 1 dB."""
MARGIN = 2
"""Latent positions along the border that are ignored after a shift, because their neighborhood changed."""
LEAST = {"shift": 25.0, "flip": 12.0, "turn": 12.0, "half": 12.0}
"""PSNR in dB below which a value is extreme. Measured, in dB:

    |           | TAESD | TAESD3 | TAEF2 | built-in | VAE-approx |
    | shift     |  38.8 |   44.3 |  39.5 |     47.0 |       58.5 |
    | flip      |  19.6 |   18.0 |  18.0 |     19.7 |       26.4 |
    | turn      |  19.5 |   17.5 |  17.5 |     19.3 |       26.4 |
    | half size |  19.3 |   18.5 |  18.0 |     20.4 |       21.7 |
"""


def check_equivariance(observation: Observation) -> Finding:
    """PSNR between the decoded transformed latent and the transformed decoded latent."""
    if observation.one_size:
        return skipped("equivariance", "the latent is one vector without spatial axes")
    if observation.decoded is None:
        return skipped("equivariance", "there is no decoder")
    z, plain, factor = observation.latents[:IMAGES], observation.decoded[:IMAGES], observation.geometry.factors[0]
    rows, columns = (side - side % 2 for side in z.shape[2:])
    even, plain_even = z[:, :, :rows, :columns], plain[:, :, : rows * factor, : columns * factor]
    inside = min(MARGIN, (min(z.shape[2:]) - 2) // 2) * factor
    decode = observation.decode
    pairs: dict[str, tuple[Callable[[], Tensor], Tensor]] = {
        "shift": (lambda: decode(z[:, :, 1:, 1:]), plain[:, :, factor:, factor:]),
        "flip": (lambda: decode(z.flip(3)), plain.flip(3)),
        "turn": (lambda: decode(z.rot90(1, (2, 3))), plain.rot90(1, (2, 3))),
        "half": (lambda: decode(F.avg_pool2d(even, 2)), F.avg_pool2d(plain_even, 2)),
    }
    values = {}
    for name, (transformed, expected) in pairs.items():
        cut = slice(inside, -inside) if name == "shift" and inside > 0 else slice(None)
        values[name] = pooled_psnr(transformed()[..., cut, cut], expected[..., cut, cut])
    listed = ", ".join(f"{LABELS[name]} {value:.1f} dB" for name, value in values.items())
    low = [LABELS[name] for name, value in values.items() if not value >= LEAST[name]]
    message = f"transformed image against the image of the transformed latent: {listed}"
    if not low:
        return Finding("equivariance", "ok", message, values)
    remedy = "Diffusion models learn such latents less easily; fine-tune with an equivariance term (EQ-VAE)."
    if "shift" in {name for name, value in values.items() if not value >= LEAST[name]}:
        remedy = "The decoded content depends on its position: expect seams in tiled decoding. " + remedy
    return Finding("equivariance", "warning", f"{message}; far below known VAEs in {' and '.join(low)}", values, remedy)


LABELS = {"shift": "shift by a position", "flip": "mirrored", "turn": "turned by 90 degrees", "half": "half the size"}
