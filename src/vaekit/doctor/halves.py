"""Check that encoder and decoder match.

Reconstructions of images are encoded again: with the right decoder their latents equal those that were
decoded. With a decoder for another order, scale or mixture of the same channels they are related
by a simple transformation, whose inverse improves the reconstruction; with another latent space they are unrelated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.doctor.findings import Finding, skipped
from vaekit.doctor.observe import Observation, pooled_psnr
from vaekit.shapes import Latents

GAIN = 3.0
"""Maximum gain in dB by a simple transformation of the latents between matching halves."""
VECTOR_GAIN = 6.0
"""The same for a latent vector: its encoder shrinks latents towards the prior, and undoing that can gain 3 dB."""
MIN_CHANGE = 0.25
"""Transformations that move latents by a smaller fraction of their standard deviation are ignored: re-encoding always
blurs a little."""
ROUNDS = 3
"""The number of times that a transformation is fitted: far from the latents that a decoder expects, its response is
nonlinear."""
MARGIN = 2.0
"""The distance below block means, in dB, from which the pair is wrong."""


@dataclass(frozen=True)
class Transformation:
    """An affine transformation of the latents: w_j = sum over i of weights[j, i] z_i + offsets[j]."""

    weights: Tensor
    offsets: Tensor

    def apply(self, z: Latents) -> Latents:
        mixed = torch.einsum("ji,bi...->bj...", self.weights, z.double())
        return (mixed + self.offsets.view(1, -1, *[1] * (z.dim() - 2))).to(z.dtype)


def check_match(observation: Observation) -> Finding:
    """PSNR of the round trip, compared with block means and with the best simple transformation of the latents."""
    if observation.decoded is None or observation.posterior is None or observation.images is None:
        return skipped("match", "one half is missing")
    if observation.one_size and len(observation.images) < 2:
        return skipped("match", "this check needs two images")
    images, decoded = observation.images[: len(observation.decoded)], observation.decoded
    z = observation.latents[: len(decoded)]
    plain, trivial = pooled_psnr(images, decoded), pooled_psnr(images, baseline_of(observation, images))
    again = observation.engine.encode(decoded.clamp(-1, 1)).mode
    agreement = correlations(again, z).diagonal()
    values: dict[str, object] = {
        "psnr": plain,
        "psnr_of_block_means": trivial,
        "agreement": agreement.mean().item(),
        "channel_agreement": agreement.tolist(),
    }
    what = "images" if "prior" not in observation.source else "samples from its own prior"
    baseline = "means of the whole image" if observation.one_size else "block means"
    message = (
        f"round trip {plain:.1f} dB on {len(decoded)} {what} ({baseline}: {trivial:.1f} dB); "
        f"re-encoded latents correlate with r = {agreement.mean().item():.2f}"
    )
    if observation.quantizes:
        gain, name, transformation = 0.0, "", None
    else:
        gain, name, transformation = best_transformation(observation, images, z, again, plain)
    values["gain"] = {"db": gain, "transformation": name}
    if transformation is not None and gain >= (VECTOR_GAIN if observation.one_size else GAIN):
        how = described(transformation) if name != "mixed" else f"with channels {name}"
        remedy = "The halves belong to different VAEs, or their normalizations differ: load both from one file."
        return Finding("match", "wrong", f"{message}; latents {how} give {gain:.1f} dB more", values, remedy)
    if plain < trivial - MARGIN and not observation.one_size:
        remedy = "Encoder and decoder do not match: load both halves from one file."
        return Finding("match", "wrong", f"{message}: worse, and no simple transformation helps", values, remedy)
    if plain < trivial:
        remedy = "Inspect reconstructions of your own images (`vaekit reconstruct`), and pass them with `--images`."
        return Finding("match", "warning", f"{message}: no better than this baseline", values, remedy)
    return Finding("match", "ok", message, values)


def baseline_of(observation: Observation, images: Tensor) -> Tensor:
    """The baseline reconstruction: the mean of each block of one latent position, interpolated; for a latent vector,
    the mean of all images."""
    if observation.one_size:
        return images.mean(dim=0, keepdim=True).expand_as(images)
    factor = observation.geometry.factors[0]
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=float(factor), mode="bilinear")


def best_transformation(
    observation: Observation, images: Tensor, z: Latents, again: Latents, plain: float
) -> tuple[float, str, Transformation | None]:
    """The gain in dB, the name, and the simple transformation of the latents with the best reconstruction."""
    best: tuple[float, str, Transformation | None] = (0.0, "", None)
    fits: dict[str, Callable[[Tensor, Tensor], Transformation]] = {"scaled": scaled, "reordered": reordered}
    if flat(z).shape[1] > 4 * z.shape[1]:
        fits["mixed"] = mixed
    for name, fit in fits.items():
        given, encoded = z, again
        for _ in range(ROUNDS):
            if not torch.isfinite(encoded).all():
                break
            transformation = fit(flat(given), flat(encoded))
            given = transformation.apply(z)
            if (given - z).square().mean().sqrt() < MIN_CHANGE * z.std():
                break
            decoded = observation.decode(given)
            gain = pooled_psnr(images, decoded) - plain
            # A more general transformation has to be clearly better than a simpler one.
            if gain > best[0] + (1.0 if best[1] not in ("", name) else 0.0):
                best = (gain, name, transformation)
            elif gain < best[0] - GAIN or gain < 0.1:
                break
            encoded = observation.engine.encode(decoded.clamp(-1, 1)).mode
    return best


def scaled(given: Tensor, encoded: Tensor) -> Transformation:
    """One scale and offset for all channels, fitted so that `encoded` becomes `given`."""
    slope = _slope(given.flatten(), encoded.flatten())
    count = len(given)
    return Transformation(slope * torch.eye(count).double(), (given.mean() - slope * encoded.mean()).expand(count))


def reordered(given: Tensor, encoded: Tensor) -> Transformation:
    """A permutation by the highest correlations, with a scale and offset for each channel."""
    related = correlations(given, encoded).abs()
    weights, offsets = torch.zeros(len(given), len(given)).double(), torch.zeros(len(given)).double()
    for _ in range(len(given)):  # the most correlated pair first; used channels are excluded
        to, source = divmod(int(related.argmax()), len(given))
        weights[to, source] = _slope(given[to], encoded[source])
        offsets[to] = given[to].mean() - weights[to, source] * encoded[source].mean()
        related[to], related[:, source] = -1, -1
    return Transformation(weights, offsets)


def mixed(given: Tensor, encoded: Tensor) -> Transformation:
    """A linear combination of all channels for each channel, by least squares."""
    design = torch.cat([encoded, torch.ones(1, encoded.shape[1]).double()]).T
    solution = torch.linalg.lstsq(design, given.T, driver="gelsd").solution
    return Transformation(solution[:-1].T, solution[-1])


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Correlations (c, c) of each channel of a with each of b; 0 for constant channels."""
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (flat(a), flat(b)))
    norms = a.norm(dim=1)[:, None] * b.norm(dim=1)
    return torch.where(norms > 0, (a @ b.T) / norms.clamp_min(1e-30), 0.0)


def flat(z: Tensor) -> Tensor:
    """Latents (n, c, i, j) -> the numbers of each channel (c, n i j), in double precision; such numbers as they are."""
    return z.double() if z.dim() == 2 else z.transpose(0, 1).flatten(1).double()


def described(transformation: Transformation) -> str:
    """A description of a scale or permutation, as it would have to be applied before decoding."""
    sources = transformation.weights.abs().argmax(dim=1).tolist()
    factors = [transformation.weights[to, source].item() for to, source in enumerate(sources)]
    moved = [f"{source} as {to}" for to, source in enumerate(sources) if to != source]
    if moved:
        return f"with reordered channels ({', '.join(moved[:6])}{', ...' if len(moved) > 6 else ''})"
    low, high = min(factors), max(factors)
    size = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    return f"times {size} plus {transformation.offsets.mean().item():.2g}"


def _slope(given: Tensor, encoded: Tensor) -> Tensor:
    """The slope from `encoded` to `given`: the ratio of standard deviations, with the sign of the correlation. Noise in
    `encoded` would bias a least-squares slope towards 0."""
    a, b = given - given.mean(), encoded - encoded.mean()
    ratio = a.norm() / b.norm().clamp_min(1e-30)
    return ratio * torch.where((a * b).sum() < 0, -1.0, 1.0)
