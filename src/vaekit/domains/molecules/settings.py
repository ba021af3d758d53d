"""The settings of a recipe for molecules."""

from dataclasses import dataclass

from vaekit.domains.molecules.chemistry import ALL, Normalization
from vaekit.domains.molecules.codecs import CODECS, SELFIES
from vaekit.domains.molecules.schema import MOST_LENGTH


@dataclass(frozen=True)
class MoleculeSettings:
    """The table [data] of a recipe for molecules."""

    codec: str = SELFIES
    """How molecules are written as tokens: "selfies" or "smiles"."""
    length: int = 72
    """The maximum number of tokens of a molecule; longer ones are left out."""
    stereo: bool = True
    """Whether stereochemistry is kept."""
    fragments: str = ALL
    """Of salts and mixtures: "all" parts, or the "largest" one."""
    column: str = ""
    """The column of SMILES in tables; empty for the usual one."""
    held_out: float | None = None
    """Molecules that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"codec is {self.codec!r}, and not {' or '.join(CODECS)}")
        if not 1 <= self.length < MOST_LENGTH:
            raise ValueError(f"length is {self.length}, and not 1 to {MOST_LENGTH - 1:,}")
        _ = self.normal

    @property
    def normal(self) -> Normalization:
        """What is kept of molecules."""
        return Normalization(self.stereo, self.fragments)
