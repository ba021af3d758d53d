"""Estimate a property of items from their latents, by a regression fitted to data or to samples."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.datasets.choose import chosen_items
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadPlan, counted, printable
from vaekit.latents.directions import summarize
from vaekit.latents.regression import Regression, fit_regression
from vaekit.latents.targets import property_target, target_of
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.encoded_data import encoded_records
from vaekit.tasks.judge import Measured
from vaekit.tasks.labelled_data import labelled_latents
from vaekit.tasks.latent_reference import LatentReference, samples
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import SelectionOptions

SAMPLES = 2000
"""That a regression is fitted to without data."""
MOST_ITEMS = 20_000
"""Of data that it is fitted to, a deterministic subset."""
POOR = 0.3
"""R2 below which a regression is of little help."""
AT_ONCE = 1024
"""Items that are measured at once."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A property as a function of latents (n, z, ...), differentiable; of maps, of their mean over positions."""

    regression: Regression
    source: str
    """What it was fitted to, a phrase."""

    def __call__(self, z: Tensor) -> Tensor:
        return self.regression(summarize(z).double())

    @property
    def quality(self) -> str:
        """How well it predicts, a phrase."""
        r2 = self.regression.r2
        if r2 is None:
            return "too few to measure how well it predicts"
        return f"R2 {r2:.2f} on items it was not fitted to{', which is poor' if self.is_poor else ''}"

    @property
    def is_poor(self) -> bool:
        """Whether it is known that it predicts badly."""
        return self.regression.r2 is not None and self.regression.r2 < POOR


def estimate_of_labels(
    model: OpenModel, data: Path, column: str, seed: int = 0, progress: Progress = no_progress
) -> Estimate:
    """The estimate of a column of labelled data.

    Raises:
        BadPlan: the labels are no numbers, or too few or too similar.
        NotFound, NoTrainingData, BadItem: data or labels cannot be read.
    """
    found = labelled_latents(model, [data], column, SelectionOptions(MOST_ITEMS, seed), summarize, progress)
    target = target_of(found.label, found.labels)
    if target.classes is not None:
        values = " and ".join(map(printable, target.classes))
        raise BadPlan(
            f"The column {printable(column)} of {data} has the two values {values}.",
            "Expected a column of numbers with more values.",
            "Learn a direction from classes: `vaekit direction`.",
        )
    regression = fit_regression(found.z.flatten(1).double(), target, seed)
    items = counted(regression.items, model.domain.item, model.domain.items)
    return Estimate(regression, f"{items} of {data.name}")


def estimate_of_measured(
    model: OpenModel,
    measured: Measured,
    name: str,
    reference: LatentReference,
    size: tuple[int, ...],
    data: Path | None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Estimate:
    """The estimate of a property that is measured of items: of those of data, or of decoded samples.

    Args:
        model: the VAE.
        measured: the property.
        name: of the property.
        reference: the distribution of latents to sample from.
        size: of the decoded items.
        data: the items; None for samples.
        seed: of the samples.
        progress: called with the number of finished items and of all.

    Raises:
        BadPlan: too few items have the property, or it is the same for all.
        NotFound, NoTrainingData, BadItem: the data cannot be read.
    """
    if data is None:
        z = samples(reference.prior, reference.mean, SAMPLES, seed)
        parts = z.split(AT_ONCE)
        values = torch.cat([measured.values(model.engine.decode(part, size)) for part in parts])
        source = f"{SAMPLES:,} samples"
    else:
        z, values = of_data(model, measured, data, seed, progress)
        source = f"{counted(len(z), model.domain.item, model.domain.items)} of {data.name}"
    if len(values[values.isfinite()].unique()) < 2:
        raise BadPlan(
            f"The property {printable(name)} is the same for {source}, or none of them has it.",
            "Expected different values, from which its gradient is estimated.",
            "Choose another property, or --method cma-es.",
        )
    target = property_target(name, values.tolist())
    return Estimate(fit_regression(summarize(z).double(), target, seed), source)


def of_data(model: OpenModel, measured: Measured, data: Path, seed: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """The latents of items of a data set, averaged over positions, and their property."""
    log = SkipLog()
    dataset = open_items(model.domain, data, log, model.schema).train
    numbers = chosen_items(dataset, min(len(dataset), MOST_ITEMS), seed).tolist()
    z, read = encoded_records(model, dataset, numbers, summarize, log, progress)
    values = [
        measured.values(model.schema.to_tensor([dataset.read(number) for number in read[start : start + AT_ONCE]]))
        for start in range(0, len(read), AT_ONCE)
    ]
    return z, torch.cat(values) if values else torch.empty(0, dtype=torch.float64)
