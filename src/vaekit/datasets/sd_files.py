"""SD files: blocks of text, each of which ends with a line of four dollar signs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Block, RecordFormat, Splits
from vaekit.datasets.label_columns import label_text
from vaekit.datasets.listing import Listed
from vaekit.datasets.numbered_texts import LONGEST_LINE, NumberedTexts, lines_of, unpacked_suffix
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_blocks import TextBlocks
from vaekit.datasets.text_files import joint_digest
from vaekit.reading import TABLE

SUFFIXES = frozenset({".sdf", ".sd", ".mol", ".mdl"})
EXPECTED = "Expected an SD file, with a line of $$$$ after each block."
END = "$$$$"
FIELD = re.compile(r"^>.*<([^<>\n]+)>", re.MULTILINE)
"""The header of a data field."""


@dataclass(frozen=True, eq=False)
class SdBlocks(NumberedTexts):
    """The blocks of one or more files. Their data fields are columns of labels."""

    def label_names(self) -> Sequence[str]:
        names = dict.fromkeys(name for _, _, text in self.parts for name in FIELD.findall(text))
        return list(dict.fromkeys([*names, *super().label_names()]))

    def labels(self, name: str) -> Sequence[str | None]:
        values = [field_of(text, name) for _, _, text in self.parts]
        return values if any(value is not None for value in values) else super().labels(name)


def field_of(block: str, name: str) -> str | None:
    """A data field of a block: the lines below its header, up to an empty one.

    >>> block = "> <pIC50> (1)\\n7.2\\n\\n> <id>\\na\\nb"
    >>> field_of(block, "pIC50"), field_of(block, "id"), field_of(block, "name")
    ('7.2', 'a b', None)
    """
    header = next((each for each in FIELD.finditer(block) if each[1] == name), None)
    if header is None:
        return None
    lines = block[header.end() :].partition("\n")[2].partition("\n\n")[0]
    return label_text(" ".join(lines.split()))


def read_blocks(path: Path, name: str, say: Callable[[str], None]) -> tuple[list[tuple[str, int, str]], str]:
    """The blocks of a file with the numbers of their first lines, and the digest of its content. The last one may lack
    its end, which a file with one block never has.

    Raises:
        NoTrainingData: it cannot be read, is not text, or is too large.
    """
    found: list[tuple[str, int, str]] = []
    held: list[str] = []
    start = number = 1
    with TextBlocks(path, say, EXPECTED, hashed=True, limit=TABLE, longest=LONGEST_LINE) as blocks:
        for block in blocks.read():
            for line in lines_of(block):
                number += 1
                if line.startswith(END):
                    found.append((name, start, "\n".join(held)))
                    held, start = [], number
                else:
                    held.append(line)
        digest = blocks.digest
    if any(line.strip() for line in held):
        found.append((name, start, "\n".join(held)))
    return found, digest


def gather_blocks(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> SdBlocks:
    """Open several files."""
    del title, wanted
    read = [read_blocks(root / name, name, log.say) for name, _ in files]
    parts = [part for parts, _ in read for part in parts]
    return SdBlocks(parts, joint_digest([digest for _, digest in read]), Block)


def open_blocks(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file."""
    return Splits(gather_blocks(path.parent, [(path.name, 0)], path.name, wanted, log))


SD_FILES = Source(
    about="an .sdf file, or a folder of them",
    yields=Block,
    claims=lambda path, _: path.is_file() and unpacked_suffix(path) in SUFFIXES,
    open=open_blocks,
    plural=".sdf files",
    suffixes=lambda _: SUFFIXES,
    gather=gather_blocks,
)
