"""Encode data sets for tasks that need the latents of many items."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadItem, VaekitError, counted
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel

BATCH = 64
LEAST_ITEMS = 2


def as_it_is(z: Tensor) -> Tensor:
    """Latents as they are."""
    return z


def encoded(
    model: OpenModel, path: Path, reduce: Callable[[Tensor], Tensor] = as_it_is, progress: Progress = no_progress
) -> tuple[Tensor, int]:
    """The modes of the posteriors of the items of a data set, (n, z, ...), and how many items cannot be read.

    Args:
        model: the VAE.
        path: the data set; of one with a test split, the training split.
        reduce: applied to each batch of latents (b, z, ...), such as the mean over positions.
        progress: called with the number of finished items and of all.

    Raises:
        NotFound, NoTrainingData, BadItem: fewer than two can be read.
    """
    log = SkipLog()
    dataset = open_items(model.domain, path, log, model.schema).train
    z, kept = encoded_records(model, dataset, range(len(dataset)), reduce, log, progress)
    if len(kept) < LEAST_ITEMS:
        raise BadItem(
            f"{len(kept)} of {counted(len(dataset), model.domain.item, model.domain.items)} can be read. "
            f"{next(iter(log.reasons.values()), '')}".strip(),
            f"Expected {LEAST_ITEMS} or more.",
            "Give more data.",
        )
    return z, len(dataset) - len(kept)


def encoded_records(
    model: OpenModel,
    dataset: Dataset,
    numbers: Sequence[int],
    reduce: Callable[[Tensor], Tensor],
    log: SkipLog,
    progress: Progress,
) -> tuple[Tensor, list[int]]:
    """The modes of the posteriors of records, prepared as the schema does, and the numbers of those that can be read.

    Args:
        model: the VAE.
        dataset: the records.
        numbers: which ones.
        reduce: applied to each batch of latents (b, z, ...), such as the mean over positions.
        log: for records that cannot be read, or whose latents are not finite.
        progress: called with the number of finished records and of all.
    """
    parts: list[Tensor] = []
    kept: list[int] = []
    for start in range(0, len(numbers), BATCH):
        batch, read = [], []
        for number in numbers[start : start + BATCH]:
            try:
                batch.append(model.schema.to_tensor([dataset.read(number)]))
                read.append(number)
            except VaekitError as error:
                log.note(dataset.key(number), str(error))
        if batch:
            latents = reduce(model.engine.encode(torch.cat(batch)).mode).cpu()
            finite = latents.flatten(1).isfinite().all(dim=1)
            for number, is_finite in zip(read, finite.tolist(), strict=True):
                if is_finite:
                    kept.append(number)
                else:
                    log.note(dataset.key(number), f"The latents of {dataset.key(number)} are not finite.")
            parts.append(latents[finite])
        progress(min(start + BATCH, len(numbers)), len(numbers))
    return torch.cat(parts) if parts else torch.empty(0, 0), kept
