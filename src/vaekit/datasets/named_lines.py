"""Text files with one item per line, each perhaps followed by its name: SMILES files.

Lines that start with # are comments. An empty line between others is an item that cannot be read, so that the numbers
of items are those of lines; empty lines at the end are ignored.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import count
from pathlib import Path

from vaekit.datasets.dataset import NamedLine, RecordFormat, Splits
from vaekit.datasets.listing import Listed
from vaekit.datasets.numbered_texts import LONGEST_LINE, NumberedTexts, lines_of, unpacked_suffix
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_blocks import TextBlocks
from vaekit.datasets.text_files import joint_digest
from vaekit.reading import TABLE

SUFFIXES = frozenset({".smi", ".smiles", ".ism", ".can"})
EXPECTED = "Expected a text file with one item per line."
COMMENT = "#"


def read_lines(
    path: Path, name: str, headers: Collection[str], say: Callable[[str], None]
) -> tuple[list[tuple[str, int, str]], str]:
    """The lines of a file with their numbers, and the digest of its content.

    Args:
        path: the file.
        name: its name in keys.
        headers: in lower case: a first line that starts with one of these words is a header.
        say: called with a message if the file is not UTF-8.

    Raises:
        NoTrainingData: it cannot be read, is not text, or is too large.
    """
    numbers = count(1)
    with TextBlocks(path, say, EXPECTED, hashed=True, limit=TABLE, longest=LONGEST_LINE) as blocks:
        lines = [(name, next(numbers), line) for block in blocks.read() for line in lines_of(block)]
        digest = blocks.digest
    while lines and not lines[-1][2].strip():
        lines.pop()
    lines = [each for each in lines if not each[2].startswith(COMMENT)]
    words = lines[0][2].split(None, 1) if lines else []
    return lines[bool(words) and words[0].lower() in headers :], digest


def gather_lines(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> NumberedTexts:
    """Open several files."""
    del title
    read = [read_lines(root / name, name, wanted.columns, log.say) for name, _ in files]
    lines = [line for lines, _ in read for line in lines]
    return NumberedTexts(lines, joint_digest([digest for _, digest in read]), NamedLine)


def open_lines(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file."""
    return Splits(gather_lines(path.parent, [(path.name, 0)], path.name, wanted, log))


NAMED_LINES = Source(
    about="a .smi file, or a folder of them",
    yields=NamedLine,
    claims=lambda path, _: path.is_file() and unpacked_suffix(path) in SUFFIXES,
    open=open_lines,
    plural=".smi files",
    suffixes=lambda _: SUFFIXES,
    gather=gather_lines,
)
