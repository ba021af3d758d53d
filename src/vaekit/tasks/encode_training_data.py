"""Encode a data set for training on its latents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.batches import LatentBatch
from vaekit.errors import BadPlan, NoTrainingData, VaekitError, counted
from vaekit.tasks.batch import Progress
from vaekit.tasks.latent_space import LatentSpace, batch_for

IN_MEMORY = 2**31
"""The maximum size of encoded items in memory, in bytes."""
BYTES = 4
"""Of a value."""


@dataclass(frozen=True, eq=False)
class EncodedItems:
    """Posteriors of records."""

    latents: LatentBatch
    """Without conditions."""
    kept: Sequence[int]
    """The numbers of the records."""
    mirrored: LatentBatch | None = None


def encode_records(
    space: LatentSpace,
    dataset: Dataset,
    numbers: Sequence[int],
    flip: bool,
    log: SkipLog,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
) -> EncodedItems:
    """Encode records, prepared as the schema does; those that cannot be read, or whose latents are not finite, are
    noted and left out.

    Args:
        space: encodes.
        dataset: the records.
        numbers: which ones.
        flip: whether images are also encoded after they were mirrored.
        log: for records that are left out.
        progress: called with the number of finished records and of all.
        stop: returns True to end early; the caller then ends, too.

    Raises:
        NoTrainingData: none is left.
        BadPlan: they do not fit into memory.
    """
    size = batch_for(tuple(space.schema.example().shape[1:]))
    parts: list[tuple[Tensor, Tensor | None]] = []
    mirrored: list[tuple[Tensor, Tensor | None]] = []
    kept: list[int] = []
    for start in range(0, len(numbers), size):
        x, read = read_records(space, dataset, numbers[start : start + size], log)
        if x is not None:
            encoded = [space.encode(each) for each in ([x, x.flip(-1)] if flip else [x])]
            finite = torch.stack([is_finite(*each) for each in encoded]).all(dim=0)
            if not parts:
                check_memory(encoded, len(numbers), space)
            parts.append(those(encoded[0], finite))
            mirrored += [those(each, finite) for each in encoded[1:]]
            for number, fine in zip(read, finite.tolist(), strict=True):
                if fine:
                    kept.append(number)
                else:
                    log.note(dataset.key(number), f"The latents of {dataset.key(number)} are not finite.")
        progress(min(start + size, len(numbers)), len(numbers))
        if stop():
            break
    if not kept:
        raise NoTrainingData(
            f"None of {counted(len(numbers), space.domain.item, space.domain.items)} can be encoded.",
            next(iter(log.reasons.values()), f"Expected {space.domain.items} that the VAE takes."),
            "Give other data, or another VAE.",
        )
    return EncodedItems(joined(parts), kept, joined(mirrored) if mirrored else None)


def read_records(
    space: LatentSpace, dataset: Dataset, numbers: Sequence[int], log: SkipLog
) -> tuple[Tensor | None, list[int]]:
    """Records as a batch, and the numbers of those that can be read."""
    batch, read = [], []
    for number in numbers:
        try:
            batch.append(space.schema.to_tensor([dataset.read(number)]))
            read.append(number)
        except VaekitError as error:
            log.note(dataset.key(number), str(error))
    return (torch.cat(batch) if batch else None), read


def is_finite(mean: Tensor, log_variance: Tensor | None) -> Tensor:
    """Which items of a batch have finite latents, (b,)."""
    finite = mean.flatten(1).isfinite().all(dim=1)
    return finite if log_variance is None else finite & log_variance.flatten(1).isfinite().all(dim=1)


def those(encoded: tuple[Tensor, Tensor | None], chosen: Tensor) -> tuple[Tensor, Tensor | None]:
    """Some items of a batch, on the CPU in fp32."""
    mean, log_variance = encoded
    return mean[chosen].float().cpu(), None if log_variance is None else log_variance[chosen].float().cpu()


def joined(parts: Sequence[tuple[Tensor, Tensor | None]]) -> LatentBatch:
    """Parts as one batch."""
    noise = [each for _, each in parts if each is not None]
    return LatentBatch(torch.cat([mean for mean, _ in parts]), torch.cat(noise) if noise else None)


def check_memory(encoded: Sequence[tuple[Tensor, Tensor | None]], items: int, space: LatentSpace) -> None:
    """Check that all items fit into memory.

    Raises:
        BadPlan: they do not.
    """
    values = sum(prod(each.shape[1:]) for pair in encoded for each in pair if each is not None)
    if values * items * BYTES > IN_MEMORY:
        raise BadPlan(
            f"The latents of {items:,} {space.domain.items} take {values * items * BYTES / 2**30:.1f} GiB.",
            f"Expected at most {IN_MEMORY / 2**30:.0f} GiB, which are kept in memory.",
            "Encode them once: `vaekit cache DATA OUT --vae VAE`, and train with --data OUT."
            if space.origin is not None
            else "Give fewer or smaller ones, or train on the latents of a VAE.",
        )
