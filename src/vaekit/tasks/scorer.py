"""Prepare a VAE for scoring: in double precision for rows and sentences, through the engine for images."""

import torch
from torch import Tensor

from vaekit.anomaly.scores import DRAWS, Scorer
from vaekit.domains.domain import ItemBatch
from vaekit.evaluation.vae_pass import DirectRunner, EngineRunner
from vaekit.runtime.conversion import in_double
from vaekit.tasks.model import OpenModel
from vaekit.vae import half_missing

VALUES, MOST_ITEMS = 2**20, 4096
"""The maximum numbers of values and of items of a batch."""


def scorer_of(model: OpenModel, draws: int = DRAWS, seed: int = 0) -> Scorer:
    """The scorer of a VAE.

    Raises:
        HalfMissing: it lacks its encoder or its decoder.
    """
    engine = model.engine
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if getattr(engine.vae, half) is None:
            raise half_missing(half, other)
    device = engine.plan.torch_device
    if engine.geometry.axes or device.type == "mps":  # which has no double precision
        with torch.no_grad():
            return Scorer(EngineRunner(engine), engine.vae.prior, draws, seed, device)
    vae = in_double(engine.vae, device)
    with torch.no_grad():
        return Scorer(DirectRunner(vae), vae.prior, draws, seed, device, torch.float64)


def usable_places(batch: ItemBatch) -> list[int]:
    """The positions of the items of a batch that can be scored: those without problems and with any value."""
    empty = is_empty(batch.x).tolist()
    return [place for place in range(len(batch.names)) if place not in batch.problems and not empty[place]]


def is_empty(x: Tensor) -> Tensor:
    """Whether all values of items (b, ...) are missing, (b,)."""
    return x.flatten(1).isnan().all(dim=1)


def batch_size(model: OpenModel) -> int:
    """The number of items of a batch. Scores do not depend on it."""
    return max(1, min(MOST_ITEMS, VALUES // model.schema.example().numel()))
