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

HELPS = 3.0
"""Maximum gain in dB by a simple transformation of the latents between matching halves."""
VECTORS_HELP = 6.0
"""The same for a latent of one vector: its encoder draws towards the prior, which undoing that gains 3 dB for some."""
CHANGED = 0.25
"""Changes that move latents by less than this part of their deviation are none: re-encoding always blurs a little."""
ROUNDS = 3
"""So many times a change is fitted again: a decoder given what it does not expect answers far from a straight line."""
MARGIN = 2.0
"""dB that the round trip may be below plain means of blocks before the pair is called wrong."""


@dataclass(frozen=True)
class Change:
    """A change of the latents: w_j = sum over i of weights[j, i] z_i + offsets[j]."""

    weights: Tensor
    offsets: Tensor

    def apply(self, z: Latents) -> Latents:
        mixed = torch.einsum("ji,bi...->bj...", self.weights, z.double())
        return (mixed + self.offsets.view(1, -1, *[1] * (z.dim() - 2))).to(z.dtype)


def check_match(observation: Observation) -> Finding:
    """PSNR of the round trip, against means of blocks, and against the best simple change of the latents."""
    if observation.decoded is None or observation.posterior is None or observation.images is None:
        return skipped("match", "one half is missing")
    if observation.one_size and len(observation.images) < 2:
        return skipped("match", "this check needs two images")
    images, decoded = observation.images[: len(observation.decoded)], observation.decoded
    z = observation.latents[: len(decoded)]
    plain, trivial = pooled_psnr(images, decoded), pooled_psnr(images, simplest(observation, images))
    again = observation.engine.encode(decoded.clamp(-1, 1)).mode
    agreement = correlations(again, z).diagonal()
    numbers: dict[str, object] = {
        "psnr": plain,
        "psnr_of_block_means": trivial,
        "agreement": agreement.mean().item(),
        "channel_agreement": agreement.tolist(),
    }
    what = "images" if "prior" not in observation.source else "samples from its own prior"
    kind = "means of the whole image" if observation.one_size else "block means"
    words = (
        f"round trip {plain:.1f} dB on {len(decoded)} {what} ({kind}: {trivial:.1f} dB); re-encoded latents correlate "
        f"with r = {agreement.mean().item():.2f}"
    )
    if observation.quantizes:
        gain, name, change = 0.0, "", None
    else:
        gain, name, change = best_change(observation, images, z, again, plain)
    numbers["gain"] = {"db": gain, "change": name}
    if change is not None and gain >= (VECTORS_HELP if observation.one_size else HELPS):
        how = described(change) if name != "mixed" else f"with channels {name}"
        remedy = "The halves belong to different VAEs, or their normalizations differ: load both from one file."
        return Finding("match", "wrong", f"{words}; latents {how} give {gain:.1f} dB more", numbers, remedy)
    if plain < trivial - MARGIN and not observation.one_size:
        remedy = "Encoder and decoder do not match: load both halves from one file."
        return Finding("match", "wrong", f"{words}: worse, and no simple transformation helps", numbers, remedy)
    if plain < trivial:
        remedy = "Inspect reconstructions of your own images (`vaekit reconstruct`), and pass them with `--images`."
        return Finding("match", "warning", f"{words}: no better than this baseline", numbers, remedy)
    return Finding("match", "ok", words, numbers)


def simplest(observation: Observation, images: Tensor) -> Tensor:
    """What a codec without a network gives: the mean of each block of one latent position; of VAEs whose position is a
    whole image, the mean of all images."""
    if observation.one_size:
        return images.mean(dim=0, keepdim=True).expand_as(images)
    factor = observation.geometry.factors[0]
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=float(factor), mode="bilinear")


def best_change(
    observation: Observation, images: Tensor, z: Latents, again: Latents, plain: float
) -> tuple[float, str, Change | None]:
    """The simple change of the latents under which images come back best, its gain in dB, and its name."""
    best: tuple[float, str, Change | None] = (0.0, "", None)
    fits: dict[str, Callable[[Tensor, Tensor], Change]] = {"scaled": scaled, "reordered": reordered}
    if flat(z).shape[1] > 4 * z.shape[1]:
        fits["mixed"] = mixed
    for name, fit in fits.items():
        given, seen = z, again
        for _ in range(ROUNDS):
            if not torch.isfinite(seen).all():
                break
            change = fit(flat(given), flat(seen))
            given = change.apply(z)
            if (given - z).square().mean().sqrt() < CHANGED * z.std():
                break
            made = observation.decode(given)
            gain = pooled_psnr(images, made) - plain
            # A more general change has to be clearly better than a plainer one.
            if gain > best[0] + (1.0 if best[1] not in ("", name) else 0.0):
                best = (gain, name, change)
            elif gain < best[0] - HELPS or gain < 0.1:
                break
            seen = observation.engine.encode(made.clamp(-1, 1)).mode
    return best


def scaled(given: Tensor, seen: Tensor) -> Change:
    """One factor and one addend for all channels, by which `seen` becomes `given`."""
    slope = _slope(given.flatten(), seen.flatten())
    count = len(given)
    return Change(slope * torch.eye(count).double(), (given.mean() - slope * seen.mean()).expand(count))


def reordered(given: Tensor, seen: Tensor) -> Change:
    """Each channel from the one that it goes with best, with a factor and an addend of its own."""
    related = correlations(given, seen).abs()
    weights, offsets = torch.zeros(len(given), len(given)).double(), torch.zeros(len(given)).double()
    for _ in range(len(given)):  # the surest pair first; what is taken is crossed out
        to, source = divmod(int(related.argmax()), len(given))
        weights[to, source] = _slope(given[to], seen[source])
        offsets[to] = given[to].mean() - weights[to, source] * seen[source].mean()
        related[to], related[:, source] = -1, -1
    return Change(weights, offsets)


def mixed(given: Tensor, seen: Tensor) -> Change:
    """Each channel from all of them, by least squares."""
    design = torch.cat([seen, torch.ones(1, seen.shape[1]).double()]).T
    solution = torch.linalg.lstsq(design, given.T, driver="gelsd").solution
    return Change(solution[:-1].T, solution[-1])


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Of each channel of a with each of b, (c, c); 0 where one does not change."""
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (flat(a), flat(b)))
    norms = a.norm(dim=1)[:, None] * b.norm(dim=1)
    return torch.where(norms > 0, (a @ b.T) / norms.clamp_min(1e-30), 0.0)


def flat(z: Tensor) -> Tensor:
    """Latents (n, c, i, j) -> the numbers of each channel (c, n i j), in double precision; such numbers as they are."""
    return z.double() if z.dim() == 2 else z.transpose(0, 1).flatten(1).double()


def described(change: Change) -> str:
    """A change of scale or order in words, as one would have to do it before decoding."""
    sources = change.weights.abs().argmax(dim=1).tolist()
    factors = [change.weights[to, source].item() for to, source in enumerate(sources)]
    moved = [f"{source} as {to}" for to, source in enumerate(sources) if to != source]
    if moved:
        return f"with reordered channels ({', '.join(moved[:6])}{', ...' if len(moved) > 6 else ''})"
    low, high = min(factors), max(factors)
    size = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    return f"times {size} plus {change.offsets.mean().item():.2g}"


def _slope(given: Tensor, seen: Tensor) -> Tensor:
    """Of the line that takes `seen` to `given`: the ratio of deviations, with the sign of the correlation. Least
    squares would make it too flat by what noise there is in `seen`."""
    a, b = given - given.mean(), seen - seen.mean()
    ratio = a.norm() / b.norm().clamp_min(1e-30)
    return ratio * torch.where((a * b).sum() < 0, -1.0, 1.0)
