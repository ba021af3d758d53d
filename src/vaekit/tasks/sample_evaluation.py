"""Samples of a VAE as a part of its evaluation: drawn from its prior, and compared with data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from vaekit.domains.domain import Domain, Schema
from vaekit.domains.sample_quality import CompareSamples, SampleQuality
from vaekit.errors import BadPlan
from vaekit.json import plain
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.prior_samples import prior_samples

COUNT = 1000
"""The default number of samples."""
NO_PRIOR = "The VAE has no prior that can be sampled."


@dataclass(frozen=True, eq=False)
class EvaluatedSamples:
    """Samples and their measures."""

    x: Tensor
    """As the VAE returns them, (n, ...)."""
    quality: SampleQuality

    def as_json(self) -> dict[str, Any]:
        """Plain values, without histograms."""
        quality = self.quality
        return plain(
            {
                "count": len(self.x),
                "values": dict(quality.values),
                f"{quality.part}_distances": dict(quality.parts),
                "not_measured": dict(quality.not_measured),
            }
        )


@dataclass(frozen=True)
class SampleEvaluationOptions:
    """Which samples are evaluated, where the domain has measures of them."""

    count: int | None = None
    """0 for none, None for `COUNT`."""
    trained_on: Path | None = None
    """The data that the VAE was trained on."""
    seed: int = 0


def comparison_of(
    domain: Domain, data: Path, schema: Schema, options: SampleEvaluationOptions
) -> CompareSamples | None:
    """What compares samples; None where they are not evaluated. Called before anything is measured.

    Raises:
        BadPlan: samples were requested of a domain without measures of them.
        NotFound, NoTrainingData: the data cannot be read.
    """
    if options.count == 0:
        return None
    compare = domain.sample_evaluation(data, options.trained_on, schema)
    if compare is None and (options.count is not None or options.trained_on is not None):
        option = "--samples" if options.count is not None else "--trained-on"
        raise BadPlan(
            f"There are no measures of samples of {domain.items} for {option}.",
            "Expected a VAE of a domain that has some, such as molecules.",
            f"Leave out {option}.",
        )
    return compare


def evaluate_samples(
    engine: Engine,
    domain: Domain,
    schema: Schema,
    compare: CompareSamples,
    options: SampleEvaluationOptions,
    progress: Progress = no_progress,
) -> EvaluatedSamples | None:
    """Draw samples and measure them: those of `vaekit sample` with the same seed. None if there is no prior to sample.

    Args:
        engine: the VAE.
        domain, schema: of its items.
        compare: from `comparison_of`.
        options: how many.
        progress: called with the number of samples that were drawn, and of all.
    """
    count = COUNT if options.count is None else options.count
    x = prior_samples(engine, domain, schema, count, options.seed, progress)
    return None if x is None else EvaluatedSamples(x, compare(schema.to_items(x), options.seed))


def shown_pairs(engine: Engine, domain: Domain, schema: Schema, items: Sequence[Tensor]) -> Tensor | None:
    """Items (...) above their reconstructions as an image (3, h, w) in [-1, 1]; None where the domain has none."""
    if not items:
        return None
    x = torch.stack(list(items))
    found = engine.decode(engine.encode(x).mode, tuple(x.shape[2:])).cpu()
    images = [domain.preview(schema.to_items(each)) for each in (x, found)]
    known = [image for image in images if image is not None]
    return stacked(known) if len(known) == len(images) else None


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Images (3, h, w) below each other; narrower ones get a white margin at the right."""
    widest = max(image.shape[2] for image in images)
    return torch.cat([pad(image, (0, widest - image.shape[2]), value=1.0) for image in images], dim=1)
