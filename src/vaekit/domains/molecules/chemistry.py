"""Molecules by RDKit: read them, and write canonical SMILES. Imports no torch, and RDKit when it is needed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from types import ModuleType
from typing import Any

from vaekit.errors import printable
from vaekit.optional import require

ALL, LARGEST = "all", "largest"
"""Which fragments of a salt or a mixture are kept."""
MOST_CHARACTERS = 5000
"""Of SMILES, which have at least one for each atom."""
PURPOSE = "read and draw molecules"
BLOCK_END = "M  END"
"""The line that ends the structure in a block of an SD file."""
BLOCK_ENDS = re.compile(rf"^{BLOCK_END}[ \t]*$", re.MULTILINE)
LARGE_ISOTOPE = re.compile(r"\[\d{4,}")
"""A mass number that RDKit would change."""
ONE_AT_A_TIME = RLock()
"""RDKit's logs are those of the process: a thread must not enable them while another one relies on their silence."""
SHOWN = 80
"""Characters of SMILES in messages."""


@dataclass(frozen=True)
class Normalization:
    """What is kept of a molecule. Charges, isotopes and radicals always are; explicit hydrogen atoms become implicit,
    as in RDKit."""

    stereo: bool = True
    """Whether stereochemistry is kept."""
    fragments: str = ALL
    """`ALL` fragments, or the `LARGEST` one."""

    def __post_init__(self) -> None:
        if self.fragments not in (ALL, LARGEST):
            raise ValueError(f"fragments is {ALL} or {LARGEST}")


EVERYTHING = Normalization()
"""Keeps what can be kept."""


def rdkit(module: str = "Chem") -> ModuleType:
    """A module of RDKit.

    Raises:
        MissingPackage: RDKit is not installed.
    """
    require("rdkit", PURPOSE, "molecules")
    return require(f"rdkit.{module}", PURPOSE, "molecules")


@contextmanager
def without_log() -> Iterator[None]:
    """Keep RDKit from printing; its errors become ValueErrors."""
    with ONE_AT_A_TIME:
        block = rdkit("rdBase").BlockLogs()
        try:
            yield
        except (RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ValueError(lines[0] if lines else "RDKit cannot read it") from error
        finally:
            del block


def read_smiles(text: str) -> Any:
    """The molecule (rdkit.Chem.Mol) that SMILES are of.

    Raises:
        ValueError: they are of none; the text is the reason.
    """
    if not text:
        raise ValueError("it is empty")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, more than {MOST_CHARACTERS:,}")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("it has characters that SMILES do not have")
    if LARGE_ISOTOPE.search(text):
        raise ValueError("it has an isotope above 999")
    with without_log():
        chem = rdkit()
        return _checked(chem.MolFromSmiles(text), lambda: chem.MolFromSmiles(text, sanitize=False), "SMILES")


def read_block(text: str) -> Any:
    """The molecule (rdkit.Chem.Mol) in a block of an SD file, V2000 or V3000.

    Raises:
        ValueError: there is none; the text is the reason.
    """
    ends = BLOCK_ENDS.findall(text)
    if not ends:
        raise ValueError(f"it ends before its line {BLOCK_END}")
    if len(ends) > 1:
        raise ValueError(f"it has {len(ends):,} structures, without a line of $$$$ between them")
    with without_log():
        chem = rdkit()
        mol = _checked(chem.MolFromMolBlock(text), lambda: chem.MolFromMolBlock(text, sanitize=False), "structure")
    if mol.GetNumAtoms() > MOST_CHARACTERS:
        raise ValueError(f"it has {mol.GetNumAtoms():,} atoms, more than {MOST_CHARACTERS:,}")
    return mol


def _checked(mol: Any, unsanitized: Any, kind: str) -> Any:
    """A molecule that was read.

    Raises:
        ValueError: it is none, or has no atoms.
    """
    if mol is None:
        raw = unsanitized()
        problems = [] if raw is None else rdkit().DetectChemistryProblems(raw)
        raise ValueError(problems[0].Message().splitlines()[0] if problems else f"it is no valid {kind}")
    if not mol.GetNumAtoms():
        raise ValueError("it has no atoms")
    return mol


def canonical(mol: Any, normal: Normalization = EVERYTHING) -> str:
    """Canonical SMILES of a molecule.

    Raises:
        ValueError: RDKit cannot write them.
    """
    with without_log():
        chem = rdkit()
        if normal.fragments == LARGEST:
            parts = chem.GetMolFrags(mol, asMols=True)
            mol = max(parts, key=lambda part: (part.GetNumHeavyAtoms(), part.GetNumAtoms(), chem.MolToSmiles(part)))
        if not normal.stereo:
            chem.RemoveStereochemistry(mol)
        return str(chem.MolToSmiles(mol))


def canonical_or_empty(text: str) -> str:
    """Canonical SMILES of SMILES; empty if they are of no molecule."""
    try:
        return canonical(read_smiles(text))
    except ValueError:
        return ""


def shown(smiles: str) -> str:
    """SMILES in a message."""
    return printable(repr(smiles), SHOWN)
