"""Measures of sampled molecules, as MOSES defines them (Polykovskiy et al. 2020, arXiv 1811.12823)."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from vaekit.domains.molecules.chemistry import without_log
from vaekit.domains.molecules.codecs import CODECS, decode
from vaekit.domains.molecules.properties import PROPERTIES
from vaekit.domains.molecules.similarity import internal_diversity, nearest
from vaekit.domains.molecules.token_store import TokenStore
from vaekit.domains.sample_quality import SampleQuality, histogram, mean, share
from vaekit.errors import MissingPackage
from vaekit.metrics.frechet import frechet_distance, gaussian_of
from vaekit.metrics.measure import Measure
from vaekit.metrics.synthetic import wasserstein
from vaekit.optional import require

MOST = 2000
"""Molecules of the data, and of the samples, whose properties and similarities are computed."""
UNIQUE_OF = (1000, 10_000)
"""Samples of which the different ones are counted."""
COMPARED = ("QED", "logP", "SA", "weight")
"""Properties whose distributions are compared."""
VALID = Measure("valid", "valid", "", "higher", "Share of samples that are molecules, by RDKit.", format=".4f")
NOVEL = Measure(
    "novel", "novel", "", "higher", "Share of different molecules that are not in the training data.", format=".4f"
)
DIVERSITY = Measure(
    "internal_diversity",
    "internal diversity",
    "",
    "higher",
    "1 minus the mean Tanimoto similarity of all pairs of samples (IntDiv1).",
    format=".4f",
)
NEAREST = Measure(
    "nearest_similarity",
    "similarity to the data",
    "",
    None,
    "Mean over samples of the Tanimoto similarity to the most similar molecule of the data (SNN).",
    format=".4f",
)
FCD = Measure(
    "fcd",
    "FCD",
    "",
    "lower",
    "Frechet ChemNet distance of samples and data (Preuer et al. 2018); larger for fewer molecules.",
    format=".3f",
)


def unique_measure(count: int) -> Measure:
    """The share of different molecules among the first ones."""
    about = f"Share of different molecules among the first {count:,} valid samples."
    return Measure(f"unique_{count}", f"unique@{count:,}", "", "higher", about, format=".4f")


@dataclass(frozen=True)
class KnownMolecules:
    """The molecules of a data set, for asking whether one is among them: compared by their tokens."""

    codec: str
    numbers: Mapping[str, int]
    """Token -> its number in the store."""
    sequences: Collection[bytes]
    """The numbers of each molecule."""
    dtype: np.dtype[np.unsignedinteger]

    def has(self, smiles: str) -> bool:
        """Whether canonical SMILES are of one of them."""
        with suppress(ValueError):
            tokens = CODECS[self.codec].split(smiles)
            if all(token in self.numbers for token in tokens):
                return np.array([self.numbers[token] for token in tokens], self.dtype).tobytes() in self.sequences
        return False


def known_molecules(store: TokenStore, codec: str) -> KnownMolecules:
    """The molecules of a store."""
    ends = store.starts.tolist()
    sequences = {store.flat[start:end].tobytes() for start, end in pairwise(ends) if end > start}
    numbers = {token: number for number, token in enumerate(store.tokens)}
    return KnownMolecules(codec, numbers, sequences, store.flat.dtype)


def some_molecules(store: TokenStore, codec: str, count: int, seed: int = 0) -> list[str]:
    """Canonical SMILES of a random choice of a store's molecules."""
    usable = np.flatnonzero(store.lengths)
    rows = np.random.default_rng(seed).permutation(usable)[:count].tolist()
    parts = [store.flat[store.starts[row] : store.starts[row + 1]].tolist() for row in rows]
    return [decode([store.tokens[number] for number in part], codec) for part in parts]


@dataclass(frozen=True)
class MoleculeComparison:
    """Compares samples with molecules of data; see `CompareSamples`."""

    data: Sequence[str]
    """Canonical SMILES."""
    known: KnownMolecules | None
    """The training data; None if they are not known."""

    def __call__(self, samples: Sequence[str], seed: int) -> SampleQuality:
        """Measure canonical SMILES, which are empty for invalid molecules. The first ones count; there is no random
        choice."""
        del seed
        valid = [text for text in samples if text]
        few = valid[:MOST]
        values: dict[Measure, float] = {VALID: share(len(valid), len(samples))}
        missing: dict[str, str] = {}
        for count in UNIQUE_OF:
            if len(valid) >= count or count == UNIQUE_OF[0]:
                first = valid[:count]
                values[unique_measure(min(count, len(samples)))] = share(len(set(first)), len(first))
        if self.known is None:
            missing[NOVEL.title] = "The training data were not given."
        else:
            different = set(valid)
            values[NOVEL] = share(sum(not self.known.has(text) for text in different), len(different))
        values[DIVERSITY] = internal_diversity(few)
        values[NEAREST] = mean(nearest(few, self.data))
        distance = fcd(self.data, valid)
        if isinstance(distance, str):
            missing[FCD.title] = distance
        else:
            values[FCD] = distance
        numbers = {name: (PROPERTIES[name](self.data), PROPERTIES[name](few)) for name in COMPARED}
        return SampleQuality(
            {measure.name: value for measure, value in values.items()},
            tuple(values),
            {name: wasserstein(*pair) for name, pair in numbers.items()},
            "property",
            missing,
            tuple(histogram(name, *pair) for name, pair in numbers.items()),
        )


def fcd(data: Sequence[str], samples: Sequence[str]) -> float | str:
    """The Frechet ChemNet distance of two lists of SMILES, or the reason why it cannot be computed."""
    if min(len(data), len(samples)) < 2:
        return "There are too few molecules."
    try:
        package = require("fcd_torch", "measure the Frechet ChemNet distance", "molecules")
        with warnings.catch_warnings(), without_log():
            warnings.simplefilter("ignore")
            network = package.FCD(device="cpu", n_jobs=1)
            features = [torch.from_numpy(network.get_predictions(list(each))).double() for each in (data, samples)]
        return frechet_distance(*map(gaussian_of, features))
    except MissingPackage as error:
        return f"{error.found} Run: pip install fcd_torch"
    except Exception as error:  # of a package that nobody maintains
        return f"fcd_torch fails: {error}."
