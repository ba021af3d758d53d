"""Items that have one size anyway, such as rows and sentences, as `vaekit cache` takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaekit.datasets.dataset import Record
from vaekit.domains.domain import Schema
from vaekit.domains.fitting import FitOptions, Fitted, Size
from vaekit.errors import BadPlan


@dataclass(frozen=True)
class OneSize:
    """Items that have one size anyway, such as rows and sentences."""

    schema: Schema
    identity: str
    """The digest of the schema."""
    mirrors: bool = False

    def size(self, record: Record) -> Size:
        del record
        return self._size

    def bucket(self, size: Size) -> Size:
        return size

    def fit(self, records: Sequence[Record], bucket: Size) -> Fitted:
        count = len(records)
        return Fitted(self.schema.to_tensor(records), [self._size] * count, [None] * count)

    def mirrored(self, x: Tensor) -> Tensor:
        del x
        raise BadPlan("Items of this domain have no mirror images.", "", "Leave out --flips.")

    def as_plain(self) -> Mapping[str, Any]:
        return {"schema": self.identity}

    @property
    def _size(self) -> Size:
        return tuple(self.schema.example().shape[2:])


def refuse_sizes(options: FitOptions, items: str) -> None:
    """Refuse options of sizes for items that have one.

    Raises:
        BadPlan: one is given.
    """
    if options != FitOptions():
        raise BadPlan(
            f"A size, buckets or a crop are given for {items}.",
            f"The {items} of a VAE have one size; these options are for images.",
            "Omit --size, --buckets and --crop.",
        )
