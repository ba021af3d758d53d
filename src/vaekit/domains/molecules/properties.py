"""Properties of molecules, computed by RDKit from SMILES; NaN for invalid ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from vaekit.domains.molecules.chemistry import rdkit, read_smiles, without_log

Measure = Callable[[Sequence[str]], list[float]]
"""SMILES -> values, NaN for invalid ones."""


def values_of(measure: Callable[[Any], float], smiles: Sequence[str]) -> list[float]:
    """A property of molecules (rdkit.Chem.Mol) for SMILES."""
    return [value_of(measure, text) for text in smiles]


def value_of(measure: Callable[[Any], float], text: str) -> float:
    """A property of one molecule; NaN if there is none."""
    try:
        mol = read_smiles(text)
        with without_log():
            return float(measure(mol))
    except (ValueError, ArithmeticError):
        return math.nan


def qed(mol: Any) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012)."""
    return float(rdkit("Chem.QED").qed(mol))


def logp(mol: Any) -> float:
    """Octanol-water partition coefficient (Wildman and Crippen 1999)."""
    return float(rdkit("Chem.Crippen").MolLogP(mol))


def synthetic_accessibility(mol: Any) -> float:
    """Synthetic accessibility, 1 (easy) to 10 (hard) (Ertl and Schuffenhauer 2009)."""
    return float(rdkit("Contrib.SA_Score.sascorer").calculateScore(mol))


def weight(mol: Any) -> float:
    """Average molecular weight in g/mol."""
    return float(rdkit("Chem.Descriptors").MolWt(mol))


def tpsa(mol: Any) -> float:
    """Topological polar surface area in square angstroms (Ertl et al. 2000)."""
    return float(rdkit("Chem.rdMolDescriptors").CalcTPSA(mol))


def rings(mol: Any) -> float:
    """The number of rings."""
    return float(rdkit("Chem.rdMolDescriptors").CalcNumRings(mol))


PROPERTIES: Mapping[str, Measure] = {
    "QED": partial(values_of, qed),
    "logP": partial(values_of, logp),
    "SA": partial(values_of, synthetic_accessibility),
    "weight": partial(values_of, weight),
    "TPSA": partial(values_of, tpsa),
    "rings": partial(values_of, rings),
}
"""By name."""
