"""Items that are parts of text files, such as lines or blocks of lines, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Block, NamedLine
from vaekit.datasets.label_columns import name_columns
from vaekit.errors import BadItem, printable

MOST_CHARACTERS = 2**20
"""Of one item."""
LONGEST_LINE = 2**27
"""The maximum number of characters of a line. Items have fewer: a long line is one item that cannot be used, not the
end of the file."""


@dataclass(frozen=True, eq=False)
class NumberedTexts:
    """The parts of one or more files."""

    parts: Sequence[tuple[str, int, str]]
    """(file name, number of the first line, text)."""
    digest: str
    record: type[NamedLine] | type[Block]
    kind = "text"

    def __len__(self) -> int:
        return len(self.parts)

    def key(self, item: int) -> str:
        file, number, _ = self.parts[item]
        return f"{file}:{number}"

    def read(self, item: int) -> NamedLine | Block:
        text, key = self.parts[item][2], self.key(item)
        if "\0" in text:
            raise BadItem(f"{printable(key)} contains a NUL character.", "", "Remove it.")
        if len(text) > MOST_CHARACTERS:
            raise BadItem(
                f"{printable(key)} has {len(text):,} characters.",
                f"Expected at most {MOST_CHARACTERS:,} for one item.",
                "Check that this is the file that is meant.",
            )
        return self.record(key, text)

    def label_names(self) -> Sequence[str]:
        return list(self._columns())

    def labels(self, name: str) -> Sequence[str | None]:
        return self._columns()[name]

    def _columns(self) -> dict[str, list[str | None]]:
        return name_columns([file for file, _, _ in self.parts], contents=True)


def unpacked_suffix(path: Path) -> str:
    """The suffix of a file, lower case, without that of gzip.

    >>> unpacked_suffix(Path("a.SMI.gz"))
    '.smi'
    """
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def lines_of(block: str) -> list[str]:
    """The lines of a block of text, without their ends."""
    return block.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
