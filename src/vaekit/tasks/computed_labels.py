"""Properties that are computed of items, as labels of data that have none."""

import math
from collections.abc import Sequence

from vaekit.datasets.dataset import Dataset
from vaekit.tasks.model import OpenModel
from vaekit.tasks.property import Property, property_of

AT_ONCE = 1024
"""Items that are measured at once."""


def computed_labels(
    model: OpenModel, wanted: Property, data: Sequence[Dataset], kept: Sequence[Sequence[int]]
) -> dict[str, list[str | None]]:
    """A property of items, and all others that their domain computes, as text by name; None where one is not finite.

    Args:
        model: the VAE.
        wanted: the property, the first of the result.
        data: data sets.
        kept: of each data set, the numbers of records that the VAE takes.

    Raises:
        BadPlan: a function of the user fails.
    """
    others = [name for name in model.domain.properties if name.lower() != wanted.name.lower()]
    every = [wanted, *(property_of(model.domain, model.schema, name) for name in others)]
    found: dict[str, list[str | None]] = {each.name: [] for each in every}
    for dataset, numbers in zip(data, kept, strict=True):
        for start in range(0, len(numbers), AT_ONCE):
            x = model.schema.to_tensor([dataset.read(number) for number in numbers[start : start + AT_ONCE]])
            for each in every:
                found[each.name] += map(label_of, each.of_tensors(model.schema)(x).tolist())
    return found


def label_of(value: float) -> str | None:
    """A number as a label.

    >>> label_of(0.25), label_of(3.0), label_of(math.nan)
    ('0.25', '3', None)
    """
    return f"{value:.17g}" if math.isfinite(value) else None
