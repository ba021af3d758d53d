"""Encode data sets for tasks that need the latents of many items."""

from pathlib import Path

import torch
from torch import Tensor

from vaekit.domains.domain import MeasureOptions
from vaekit.errors import BadItem, VaekitError
from vaekit.tasks.model import OpenModel

BATCH = 64
LEAST_ITEMS = 2


def encoded(model: OpenModel, path: Path) -> tuple[Tensor, int]:
    """The modes of the posteriors of the items of a data set, (n, z, ...), and how many items cannot be read.

    Items are prepared as for an evaluation: images are resized, and cut to a square.

    Raises:
        NotFound, NoTrainingData, BadItem: fewer than two can be read.
    """
    items = model.domain.evaluation_items(path, model.engine.vae, model.schema, MeasureOptions())
    parts, skipped, error = [], 0, ""
    for start in range(0, len(items.names), BATCH):
        batch = []
        for name in items.names[start : start + BATCH]:
            try:
                batch.append(items.read(name))
            except VaekitError as problem:
                skipped, error = skipped + 1, error or str(problem)
        if batch:
            parts.append(model.engine.encode(torch.stack(batch)).mode)
    count = sum(map(len, parts))
    if count < LEAST_ITEMS:
        raise BadItem(
            f"{count} of {len(items.names):,} {model.domain.items} can be read. {error}".strip(),
            f"Expected {LEAST_ITEMS} or more.",
            "Give more data.",
        )
    return torch.cat(parts), skipped
