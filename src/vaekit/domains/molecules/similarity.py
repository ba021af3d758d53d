"""Similarity of molecules: Tanimoto of Morgan fingerprints (Rogers and Hahn 2010), radius 2, 2048 bits."""

import math
from collections.abc import Sequence
from typing import Any

from vaekit.domains.molecules.chemistry import rdkit, read_smiles, without_log

RADIUS, BITS = 2, 2048


def fingerprints(smiles: Sequence[str]) -> list[Any]:
    """The fingerprints of SMILES; None for invalid ones."""
    generator = rdkit("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    found: list[Any] = []
    for text in smiles:
        try:
            mol = read_smiles(text)
            with without_log():
                found.append(generator.GetFingerprint(mol))
        except ValueError:
            found.append(None)
    return found


def tanimoto(smiles: Sequence[str], others: Sequence[str]) -> list[float]:
    """The similarity of each molecule to the other one at its place, 0 to 1; NaN where one is invalid.

    Args:
        smiles: SMILES (n,).
        others: SMILES (n,).
    """
    similarity = rdkit("DataStructs").TanimotoSimilarity
    pairs = zip(fingerprints(smiles), fingerprints(others), strict=True)
    return [math.nan if one is None or other is None else float(similarity(one, other)) for one, other in pairs]


def nearest(smiles: Sequence[str], others: Sequence[str]) -> list[float]:
    """The similarity of each molecule to the most similar one of others; NaN for invalid ones."""
    bulk = rdkit("DataStructs").BulkTanimotoSimilarity
    known = [each for each in fingerprints(others) if each is not None]
    prints = fingerprints(smiles)
    return [math.nan if each is None or not known else max(bulk(each, known)) for each in prints]


def internal_diversity(smiles: Sequence[str]) -> float:
    """1 minus the mean similarity of all pairs, each molecule with itself included (IntDiv1 of MOSES); NaN if there are
    none."""
    bulk = rdkit("DataStructs").BulkTanimotoSimilarity
    known = [each for each in fingerprints(smiles) if each is not None]
    if not known:
        return math.nan
    return 1 - math.fsum(math.fsum(bulk(each, known)) for each in known) / len(known) ** 2
