"""SD files: blocks of text, each of which ends with a line of four dollar signs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vaekit.datasets.dataset import Block, RecordFormat, Splits
from vaekit.datasets.listing import Listed
from vaekit.datasets.numbered_texts import NumberedTexts, lines_of, unpacked_suffix
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_blocks import TextBlocks
from vaekit.datasets.text_files import joint_digest
from vaekit.reading import TABLE

SUFFIXES = frozenset({".sdf", ".sd", ".mol", ".mdl"})
EXPECTED = "Expected an SD file, with a line of $$$$ after each block."
END = "$$$$"


def read_blocks(path: Path, name: str, say: Callable[[str], None]) -> tuple[list[tuple[str, int, str]], str]:
    """The blocks of a file with the numbers of their first lines, and the digest of its content. The last one may lack
    its end, which a file with one block never has.

    Raises:
        NoTrainingData: it cannot be read, is not text, or does not fit into memory.
    """
    found: list[tuple[str, int, str]] = []
    held: list[str] = []
    start = number = 1
    with TextBlocks(path, say, EXPECTED, hashed=True, limit=TABLE) as blocks:
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


def gather_blocks(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> NumberedTexts:
    """Open several files."""
    del title, wanted
    read = [read_blocks(root / name, name, log.say) for name, _ in files]
    parts = [part for parts, _ in read for part in parts]
    return NumberedTexts(parts, joint_digest([digest for _, digest in read]), Block)


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
