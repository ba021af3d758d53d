"""Directions in a latent space: axes and principal components, with the standard deviation of data along each.

A direction has one value per latent channel. Latents that are maps are described by their mean over positions, and move
along a direction by the same amount at every position; unless the direction is a map itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.errors import BadPlan, counted

SHIFT, SPREAD = KINDS = ("shift", "spread")
"""Kinds of directions."""
LEAST_SPREAD = 1e-6
"""Standard deviation of a channel over positions that counts as constant."""
Summary = Float[Tensor, "n z"]
"""One vector per item: its latent, averaged over positions."""


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction."""

    name: str
    vector: Float[Tensor, "z *positions"]
    """A unit vector: the same for all positions (z), or different ones for each (z, ...)."""
    std: float
    """The standard deviation of latents along it: the unit of steps."""
    kind: str = SHIFT
    """`SHIFT`: steps are added to latents. `SPREAD`: they are added to the logarithms of the standard deviations of
    channels over positions, so that differences between positions grow, and their mean stays."""

    def move(self, z: Tensor, distances: Sequence[float]) -> Tensor:
        """A latent (1, z, ...) moved by several distances in standard deviations, (n, z, ...); bit-identical for 0.

        Of several latents (b, z, ...), all are moved by the first distance, then all by the second, (n * b, z, ...).
        """
        step = (self.std * self.vector).to(z).unsqueeze(0)
        step = step if step.dim() == z.dim() else step.view(1, -1, *[1] * (z.dim() - 2))
        if self.kind == SPREAD:
            center = z.mean(dim=tuple(range(2, z.dim())), keepdim=True)
            return torch.cat(
                [center + (z - center) * (distance * step).exp() if distance else z for distance in distances]
            )
        return torch.cat([z + distance * step if distance else z for distance in distances])


def summarize(z: Tensor) -> Summary:
    """Latents (n, z, ...) averaged over positions."""
    return z if z.dim() == 2 else z.flatten(2).mean(dim=2)


def log_spread(z: Tensor) -> Summary:
    """The logarithms of the standard deviations of latents (n, z, ...) over positions: (n, z)."""
    return z.flatten(2).std(dim=2, correction=0).clamp(min=LEAST_SPREAD).log()


def axis(channel: int, channels: int, summaries: Summary | None = None) -> Direction:
    """The direction of one latent channel.

    Args:
        channel: its number, from 0.
        channels: their number.
        summaries: of latents of data; None for a standard deviation of 1, that of the prior N(0, I).

    Raises:
        BadPlan: there is no such channel.
    """
    if not 0 <= channel < channels:
        raise BadPlan(
            f"There is no latent axis {channel}.", f"This VAE has axes from 0 to {channels - 1}.", "Choose one of them."
        )
    vector = torch.zeros(channels)
    vector[channel] = 1
    std = 1.0 if summaries is None else summaries[:, channel].std(correction=0).item()
    return Direction(f"axis {channel}", vector, std)


def principal_components(summaries: Summary, count: int) -> list[Direction]:
    """The orthogonal directions along which latents of data vary most, largest first (PCA).

    Raises:
        BadPlan: there are fewer latents or channels than that.
    """
    most = min(len(summaries) - 1, summaries.shape[1])
    if not 0 < count <= most:
        raise BadPlan(
            f"{counted(len(summaries), 'item')} with {counted(summaries.shape[1], 'latent channel')} have no "
            f"{counted(count, 'principal component')}.",
            f"Expected 1 to {most}.",
            "Give more data, or request fewer.",
        )
    centered = summaries.double() - summaries.double().mean(dim=0)
    _, lengths, vectors = torch.linalg.svd(centered, full_matrices=False)
    stds = lengths / len(summaries) ** 0.5
    return [
        Direction(f"component {i + 1}", vector.float(), std.item())
        for i, (vector, std) in enumerate(zip(vectors[:count], stds[:count], strict=True))
    ]
