"""SMILES as tokens and back: symbols of SELFIES (Krenn et al. 2020, arXiv 1905.13741), or SMILES. Imports no torch."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from vaekit.domains.molecules.chemistry import Normalization, canonical, canonical_or_empty, read_smiles, shown
from vaekit.optional import require

SELFIES, SMILES = "selfies", "smiles"
SYMBOL = re.compile(r"\[[^\]]*\]|%\d\d|%\(\d+\)|Br|Cl|->|<-|.")
"""A symbol of SMILES: an atom, a bond, a branch or a ring closure."""


@dataclass(frozen=True)
class Codec:
    """One way to write molecules as tokens."""

    split: Callable[[str], Sequence[str]]
    """SMILES -> tokens. ValueError if there are none for this molecule."""
    join: Callable[[Sequence[str]], str]
    """Tokens -> SMILES, which need not be valid. ValueError if there are none."""


def selfies() -> ModuleType:
    """The package selfies.

    Raises:
        MissingPackage: it is not installed.
    """
    return require("selfies", "write molecules as tokens", "molecules")


def split_selfies(smiles: str) -> list[str]:
    """SMILES -> symbols of SELFIES."""
    package = selfies()
    try:
        return list(package.split_selfies(package.encoder(smiles)))
    except Exception as error:  # besides its own errors it raises those of Python, such as RecursionError
        lines = str(error).splitlines()
        raise ValueError(
            f"SELFIES cannot express it ({lines[0].strip() if lines else type(error).__name__})"
        ) from error


def join_selfies(tokens: Sequence[str]) -> str:
    """Symbols of SELFIES -> SMILES."""
    package = selfies()
    try:
        return str(package.decoder("".join(tokens)))
    except Exception as error:  # see `split_selfies`
        raise ValueError("it is no SELFIES") from error


def split_smiles(smiles: str) -> list[str]:
    """SMILES -> symbols.

    >>> split_smiles("C[C@H](Cl)c1cccnc1")
    ['C', '[C@H]', '(', 'Cl', ')', 'c', '1', 'c', 'c', 'c', 'n', 'c', '1']
    """
    return SYMBOL.findall(smiles)


CODECS: Mapping[str, Codec] = {
    SELFIES: Codec(split_selfies, join_selfies),
    SMILES: Codec(split_smiles, "".join),
}


def decode(tokens: Sequence[str], codec: str) -> str:
    """Canonical SMILES of tokens; empty if they are of no molecule."""
    try:
        return canonical_or_empty(CODECS[codec].join(tokens))
    except ValueError:
        return ""


def encode(text: str, codec: str, normal: Normalization) -> list[str]:
    """The tokens of SMILES, from which the same canonical SMILES come back.

    Raises:
        ValueError: there are none; the text is the reason.
    """
    smiles = canonical(read_smiles(text), normal)
    tokens = CODECS[codec].split(smiles)
    back = decode(tokens, codec)
    if back != smiles:
        raise ValueError(f"it would come back as {shown(back) if back else 'no molecule'}")
    return list(tokens)
