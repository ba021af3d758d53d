"""The radial spectra of latents and items; see `metrics/latent/radial_spectrum`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.evaluation.aggregate_posterior import finite_latents
from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.latent.radial_spectrum import BINS, LEAST, centers, high_share, ring_power, slope
from vaekit.metrics.measure import Measure

SLOPE = Measure(
    "spectral_slope",
    "spectral slope of latents",
    "",
    None,
    "The exponent of their power over radial frequency: 0 for white noise, about -2 for photographs.",
)
DATA_SLOPE = Measure(
    "spectral_slope_data",
    "spectral slope of the data",
    "",
    None,
    "The same of the items, reduced to the latents' size.",
)
EXCESS = Measure(
    "spectral_excess",
    "high-frequency excess",
    "",
    "one",
    "Share of the power above half the Nyquist frequency, latents relative to items of the latents' size.",
)
NO_MAP = "The latent is one vector, or has fewer than 4 positions along an axis."


def spectrum_measure(pool: "SpectrumPool") -> PooledMeasure:
    """The measure of the spectra of latents and items. A row has the number of coefficients of each ring, then the
    power of each channel of the latent, then that of each channel of the item."""
    settings = {"transform": "DCT-II of whole planes", "rings": BINS, "items": "reduced by averaging"}
    return PooledMeasure("spectrum", _spectrum_rows, lambda: pool, settings)


def _spectrum_rows(vae_pass: VAEPass) -> Tensor:
    latents = finite_latents(vae_pass)
    rows, columns = latents.shape[2:]
    reduced = F.adaptive_avg_pool2d(vae_pass.x.float(), (rows, columns))
    if min(rows, columns) < LEAST:
        return torch.zeros(len(latents), BINS * (1 + latents.shape[1] + reduced.shape[1]))
    (power, counts), (data, _) = ring_power(latents), ring_power(reduced)
    return torch.cat([counts.expand(len(latents), -1), power.flatten(1), data.flatten(1)], dim=1).float()


@dataclass(eq=False)
class SpectrumPool:
    """The spectra of latents and items, each channel divided by its total power over all items."""

    channels: int
    counts: Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.float64), init=False)
    power: Tensor | None = field(default=None, init=False)
    """(channels of latents and items, BINS)."""
    items: int = field(default=0, init=False)

    def add(self, rows: Tensor) -> None:
        for row in rows.double():
            parts = row.view(-1, BINS)
            self.counts += parts[0]
            self.power = parts[1:].clone() if self.power is None else self.power + parts[1:]
            self.items += bool(parts[0].any())

    def result(self) -> PooledResult:
        names = (SLOPE.name, DATA_SLOPE.name, EXCESS.name)
        if self.power is None or not self.counts.any():
            return PooledResult(not_measured=dict.fromkeys(names, NO_MAP))
        latents, data = self._shares()
        if latents is None or data is None:
            what = "latents" if latents is None else "items"
            return PooledResult(not_measured=dict.fromkeys(names, f"The {what} do not vary within an item."))
        values = {
            SLOPE: slope(latents / self.counts),
            DATA_SLOPE: slope(data / self.counts),
            EXCESS: high_share(latents) / high_share(data) if high_share(data) else math.nan,
        }
        finite = {each: value for each, value in values.items() if math.isfinite(value)}
        missing = {each.name: "The spectrum has too few rings with power." for each in values if each not in finite}
        return PooledResult(tuple(Result(each, value, count=self.items) for each, value in finite.items()), missing)

    def curves(self) -> Mapping[str, list[float]]:
        """The mean power of each ring, of latents and of items of their size, relative to their total: 1 everywhere for
        white noise. Frequencies in cycles per latent position. Empty where there are no maps."""
        if self.power is None or not self.counts.any():
            return {}
        white = self.counts / self.counts.sum()
        named = zip(("latents", "data"), self._shares(), strict=True)
        curves = {name: (shares / white).tolist() for name, shares in named if shares is not None}
        return {"frequency": centers().tolist(), **curves} if curves else {}

    def _shares(self) -> tuple[Tensor | None, Tensor | None]:
        """The share of each ring in the power of latents and of items: the mean over channels that vary."""
        assert self.power is not None
        both = []
        for power in (self.power[: self.channels], self.power[self.channels :]):
            totals = power.sum(dim=1, keepdim=True)
            varying = totals[:, 0] > 0
            both.append((power[varying] / totals[varying]).mean(dim=0) if varying.any() else None)
        return both[0], both[1]
