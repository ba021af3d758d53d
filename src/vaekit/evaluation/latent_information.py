"""What latents say about items: mutual information and active units, for Gaussian posteriors of latent vectors."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian
from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass, select_item
from vaekit.metrics.latent.information import active_units, mutual_information
from vaekit.metrics.latent.moments import Moments
from vaekit.metrics.measure import Measure

MOST = 2048
"""Items whose mutual information is estimated: the first ones."""
LATENT_INFORMATION = "latent_information"
"""The name of the measure."""
INFORMATION = Measure(
    "mutual_information",
    "mutual information",
    "nats",
    None,
    f"I(z; x) between latents and items, from at most {MOST:,} items: an estimate that cannot exceed the logarithm of "
    "their number.",
)
ACTIVE = Measure(
    "active_units",
    "active units",
    "",
    None,
    "Latent dimensions whose posterior mean varies over the data, with a variance above 0.01.",
)


def latent_information() -> PooledMeasure:
    """The measure of a VAE whose posterior is a diagonal Gaussian."""
    return PooledMeasure(LATENT_INFORMATION, _rows, InformationPool, {"items": MOST})


def _rows(vae_pass: VAEPass) -> Tensor:
    """Mean, log-variance and a sample of the latent of each item, (b, 3 d)."""
    posterior = vae_pass.posterior
    assert isinstance(posterior, DiagonalGaussian)
    samples = [
        select_item(posterior, i).sample(vae_pass.generator(i, "information")) for i in range(len(vae_pass.names))
    ]
    return torch.cat([each.flatten(1) for each in (posterior.mean, posterior.log_variance, torch.cat(samples))], dim=1)


@dataclass(eq=False)
class InformationPool:
    """The latents of the first items, and the moments of the means of all."""

    kept: list[Tensor] = field(default_factory=list)
    moments: Moments | None = None

    def add(self, rows: Tensor) -> None:
        for row in rows:
            if len(self.kept) < MOST:
                self.kept.append(row)
            mean = row[: len(row) // 3]
            self.moments = self.moments or Moments(len(mean))
            self.moments.add(mean.unsqueeze(0))

    def result(self) -> PooledResult:
        if self.moments is None or len(self.kept) < 2:
            reason = "It takes two or more items."
            return PooledResult(not_measured={INFORMATION.name: reason, ACTIVE.name: reason})
        mean, log_variance, z = torch.stack(self.kept).double().chunk(3, dim=1)
        nats = float(mutual_information(z, mean, log_variance))
        active = float(active_units(self.moments.covariance.diagonal()))
        return PooledResult(
            (
                Result(INFORMATION, nats, count=len(self.kept)),
                Result(ACTIVE, active, count=self.moments.count),
            )
        )
