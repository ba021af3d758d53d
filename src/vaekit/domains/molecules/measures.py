"""Measures of molecules and their reconstructions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.domains.molecules.schema import MoleculeSchema
from vaekit.domains.molecules.similarity import tanimoto
from vaekit.domains.token_measures import token_errors
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure

TOKENS = token_errors("molecule", "molecules")
EXACT = Measure(
    "exact_match", "exact match", "", "higher", "Share of molecules that come back: equal canonical SMILES."
)
TANIMOTO = Measure(
    "tanimoto",
    "Tanimoto",
    "",
    "higher",
    "Similarity of molecules and their reconstructions: Morgan fingerprints of radius 2 with 2048 bits; 0 for invalid "
    "ones.",
)
VALID = Measure("valid", "valid", "", "higher", "Share of reconstructions that are molecules, by RDKit.")


@dataclass(frozen=True)
class MoleculeErrors:
    """The measures, as a function of a batch; see `ItemMeasure`."""

    schema: MoleculeSchema

    def __call__(self, vae_pass: VAEPass) -> Mapping[str, Tensor]:
        before, after = (self.schema.to_items(x) for x in (vae_pass.x, vae_pass.result))
        similar = torch.tensor(tanimoto(before, after)).nan_to_num(nan=0.0)
        same = [one == other for one, other in zip(before, after, strict=True)]
        accuracy = TOKENS.quantities[0].name
        return {
            accuracy: TOKENS.compute(vae_pass)[accuracy],
            EXACT.name: torch.tensor(same, dtype=torch.float32),
            TANIMOTO.name: similar,
            VALID.name: torch.tensor([bool(text) for text in after], dtype=torch.float32),
        }


def molecule_errors(schema: MoleculeSchema) -> ItemMeasure:
    """Token accuracy, exact matches, similarity and validity of reconstructions."""
    return ItemMeasure((TOKENS.quantities[0], EXACT, TANIMOTO, VALID), MoleculeErrors(schema))
