"""Drawings of molecules by RDKit: grids as SVG, and images."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.domains.item_functions import ItemValues
from vaekit.domains.molecules.chemistry import rdkit, read_smiles, without_log
from vaekit.domains.molecules.properties import PROPERTIES

MOST = 100
"""Molecules of a drawing."""
CELL = 220
"""The side of the drawing of one molecule in pixels."""
BOND = 24
"""The length of a bond in pixels, in molecules that are not too large for it: small ones are not enlarged."""
COLUMNS = 5
MOST_ATOMS = 150
"""Of a molecule that is drawn: the layout of one of 3,000 atoms takes minutes."""
NOTE = 16
"""Characters of a note under a molecule."""
CAPTION = "QED"
"""The property under each molecule by default."""
INVALID = "invalid"


def write_drawing(
    smiles: Sequence[str],
    path: Path,
    columns: int = COLUMNS,
    notes: Sequence[str] = (),
    values: Sequence[ItemValues] = (),
) -> Path:
    """Write a grid of the first molecules as SVG, with properties under each; invalid ones say so.

    Args:
        smiles: of the molecules.
        path: of the file.
        columns: of the grid.
        notes: a text for each molecule before its properties, or "" for none; empty if no molecule has one.
        values: the properties; empty for `CAPTION`.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    shown = smiles[:MOST]
    drawing = svg(shown, captions(shown, notes, values), columns)
    with atomic_file(path) as part:
        part.write_text(drawing, "utf-8")
    return path


def captions(smiles: Sequence[str], notes: Sequence[str] = (), values: Sequence[ItemValues] = ()) -> list[str]:
    """The text under each molecule; see `write_drawing`. There may be more notes and values than molecules."""
    shown = values or [ItemValues(CAPTION, PROPERTIES[CAPTION](smiles))]
    columns = [list(map(shortened, notes[: len(smiles)] or [""] * len(smiles)))]
    columns += [[value_text(each.name, value) for value in each.values[: len(smiles)]] for each in shown]
    return [", ".join(filter(None, texts)) for texts in zip(*columns, strict=True)]


def value_text(name: str, value: float) -> str:
    """A value with its name, that of a function without its module; empty for NaN.

    >>> value_text("QED", 0.8713), value_text("weight", 312.4), value_text("mine:size", 3.0), value_text("SA", math.nan)
    ('QED 0.87', 'weight 312.4', 'size 3.00', '')
    """
    if math.isnan(value):
        return ""
    number = f"{value:.2f}" if abs(value) < 100 else f"{value:.4g}"
    return f"{shortened(name.rpartition(':')[2])} {number}"


def shortened(note: str) -> str:
    """A text that fits under a molecule.

    >>> shortened("a very long name of a molecule")
    'a very long n...'
    """
    return note if len(note) <= NOTE else f"{note[: NOTE - 3].rstrip()}..."


def svg(smiles: Sequence[str], texts: Sequence[str], columns: int = COLUMNS) -> str:
    """A grid of molecules with a caption under each."""
    return str(drawn("MolDraw2DSVG", smiles, texts, columns))


def image(smiles: Sequence[str], texts: Sequence[str], columns: int = COLUMNS) -> Tensor:
    """The same as an image (3, h, w) in [-1, 1]."""
    content = drawn("MolDraw2DCairo", smiles, texts, columns)
    levels = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1).float() / 127.5 - 1


def drawn(canvas: str, smiles: Sequence[str], texts: Sequence[str], columns: int) -> Any:
    """The text or the bytes of a drawing on a canvas of `rdkit.Chem.Draw.rdMolDraw2D`."""
    draw = rdkit("Chem.Draw.rdMolDraw2D")
    wide = max(1, min(columns, len(smiles)))
    high = max(1, -(-len(smiles) // wide))
    with without_log():
        paper = getattr(draw, canvas)(wide * CELL, high * CELL, CELL, CELL)
        options = paper.drawOptions()
        options.legendFontSize, options.padding = 15, 0.08
        options.drawMolsSameScale, options.fixedBondLength = False, BOND
        molecules = [drawable(text) for text in smiles] or [rdkit().Mol()]
        paper.DrawMolecules(molecules, legends=list(texts) or [""])
        paper.FinishDrawing()
        return paper.GetDrawingText()


def drawable(text: str) -> Any:
    """A molecule that can be drawn; for invalid SMILES, and molecules that take too long, an atom with such a label."""
    try:
        mol = read_smiles(text)
        if mol.GetNumAtoms() > MOST_ATOMS:
            return label(f"{mol.GetNumAtoms():,} atoms")
        with without_log():
            return rdkit("Chem.Draw.rdMolDraw2D").PrepareMolForDrawing(mol)
    except ValueError:
        return label(INVALID)


def label(text: str) -> Any:
    """An atom that is drawn as a text."""
    mol = rdkit().MolFromSmiles("*")
    mol.GetAtomWithIdx(0).SetProp("_displayLabel", text)
    return mol
