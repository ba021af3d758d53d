"""Molecules for training: tokens of a memory map, padded batch by batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.distributions.sequences import END
from vaekit.domains.molecules.records import unreadable
from vaekit.domains.molecules.schema import MoleculeSchema
from vaekit.domains.molecules.settings import MoleculeSettings
from vaekit.domains.molecules.token_store import TokenStore
from vaekit.domains.tokens import UNKNOWN
from vaekit.errors import NoTrainingData, counted


@dataclass(frozen=True, eq=False)
class TokenSource:
    """Molecules of a store; see `vaekit.training.data.Source`. The tokens stay in their file."""

    store: TokenStore
    rows: NDArray[np.int64]
    """The molecules that are taken."""
    numbers: NDArray[np.int64]
    """The number in the schema for each token of the store."""
    length: int

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        """Token numbers (b, length)."""
        del seed
        rows = self.rows[items.numpy()]
        places = np.arange(self.length)
        counted = places < self.store.lengths[rows, None]
        found = np.full(counted.shape, END, np.int64)
        found[counted] = self.numbers[self.store.flat[(self.store.starts[rows, None] + places)[counted]]]
        return torch.from_numpy(found)


def fit(
    store: TokenStore, rows: NDArray[np.int64], settings: MoleculeSettings, say: Callable[[str], None] = silent
) -> MoleculeSchema:
    """The schema of molecules to train on.

    Args:
        store: the data as tokens.
        rows: the molecules to train on.
        settings: of the recipe.
        say: called with what is kept of molecules.

    Raises:
        NoTrainingData: none can be trained on.
    """
    lengths = store.lengths[rows]
    used = rows[(lengths > 0) & (lengths <= settings.length)]
    if not len(used):
        shortest = lengths[lengths > 0]
        raise NoTrainingData(
            f"None of {counted(len(rows), 'molecule')} can be trained on.",
            f"The shortest has {shortest.min():,} tokens."
            if len(shortest)
            else store.message(int(rows[0]), "The first molecule"),
            "Set data.length higher." if len(shortest) else "",
        )
    mixtures, chiral = store.having(used, lambda token: token == "."), store.having(used, is_stereo)
    if mixtures:
        say(f"{counted(mixtures, 'molecule')} with several parts, such as salts: all parts are kept (data.fragments).")
    if chiral:
        say(f"{counted(chiral, 'molecule')} with stereochemistry, which is kept (data.stereo).")
    counts = store.counts(used)
    ordered = sorted(counts, key=lambda token: (-counts[token], token))
    longest = int(store.lengths[used].max())
    return MoleculeSchema(settings.codec, tuple(ordered), longest + 1, settings.normal, settings.column)


def is_stereo(token: str) -> bool:
    """Whether a token describes stereochemistry."""
    return any(mark in token for mark in ("@", "/", "\\"))


def source_of(
    store: TokenStore, dataset: Dataset, rows: NDArray[np.int64], schema: MoleculeSchema, log: SkipLog
) -> TokenSource:
    """The molecules of these rows that the schema takes; the others are logged.

    Args:
        store: the data as tokens.
        dataset: the same data, for names.
        rows: of molecules.
        schema: of the VAE.
        log: for the others.
    """
    numbers = np.array(schema.table.encode(store.tokens), np.int64)
    unknown = np.array(numbers == UNKNOWN, bool)
    lengths = store.lengths
    totals: NDArray[Any] = np.concatenate([[0], np.cumsum(unknown[store.flat])])
    bad = totals[store.starts[1:]] > totals[store.starts[:-1]]
    usable = (lengths > 0) & (lengths < schema.length) & ~bad
    kept = rows[usable[rows]]
    for row in rows[~usable[rows]].tolist():
        key = dataset.key(row)
        if lengths[row]:
            own = store.flat[store.starts[row] : store.starts[row + 1]]
            reason = schema.problem(len(own), [store.tokens[number] for number in own[unknown[own]]])
            log.note(key, str(unreadable(key, "a molecule", reason)))
        else:
            log.note(key, store.message(row, key))
    return TokenSource(store, kept, numbers, schema.length)
