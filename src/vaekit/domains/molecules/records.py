"""Records of a data set -> SMILES: a line, a row with a column of SMILES, or a block of an SD file."""

from collections.abc import Collection
from pathlib import Path

from vaekit.datasets.arrow_rows import SUFFIXES as ARROW_SUFFIXES
from vaekit.datasets.csv_format import DELIMITERS
from vaekit.datasets.csv_rows import SUFFIXES as CSV_SUFFIXES
from vaekit.datasets.dataset import Block, FileRecord, NamedLine, Record, RecordFormat, Row, Splits
from vaekit.datasets.named_lines import SUFFIXES as LINE_SUFFIXES
from vaekit.datasets.named_lines import open_lines
from vaekit.datasets.numbered_texts import unpacked_suffix
from vaekit.datasets.open import open_dataset
from vaekit.datasets.sd_files import SUFFIXES as SD_SUFFIXES
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.text_blocks import TextBlocks, first_line
from vaekit.domains.molecules.chemistry import canonical, read_block
from vaekit.errors import BadItem, NoTrainingData, did_you_mean, printable, shorten

COLUMN = "smiles"
"""The usual name of a column of SMILES, in lower case."""
TABLE_SUFFIXES = CSV_SUFFIXES | ARROW_SUFFIXES
FORMAT = RecordFormat(
    "molecules", (NamedLine, Block, Row), LINE_SUFFIXES | SD_SUFFIXES | TABLE_SUFFIXES, columns=(COLUMN,)
)
EXPECTED = "Expected SMILES files, SD files, or tables with a column of SMILES."


def open_molecules(path: Path, log: SkipLog) -> Splits:
    """The molecules at a path. A text file without a known suffix is a table if its first line has a column of SMILES,
    and else has one molecule per line.

    Raises:
        NotFound, NoTrainingData: see `open_dataset`.
    """
    if path.is_file() and unpacked_suffix(path) in ("", ".txt", ".text") and is_list(path):
        splits = open_lines(path, FORMAT, log)
        if not len(splits.train):
            raise NoTrainingData(f"{path} contains no molecules.", EXPECTED, "Check the path.")
        return splits
    return open_dataset(path, FORMAT, log)


def is_list(path: Path) -> bool:
    """Whether a file is text, and its first line is not the header of a table."""
    try:
        with TextBlocks(path, lambda _: None, EXPECTED) as blocks:
            line = first_line(next(blocks.read(), ""))
    except NoTrainingData:
        return False
    names = [name.strip().strip('"') for delimiter in DELIMITERS for name in line.split(delimiter)]
    return "\0" not in line and (column_of(names) is None or not any(mark in line for mark in DELIMITERS))


def column_of(names: Collection[str], wanted: str = "") -> str | None:
    """The column of SMILES: the one that is wanted; without it, that with the usual name, or the only one whose name
    contains it; None if there is none.

    >>> column_of(["id", "Canonical_SMILES"]), column_of(["id", "structure"]), column_of(["SMILES", "old_smiles"])
    ('Canonical_SMILES', None, 'SMILES')
    """
    if wanted in names:
        return wanted
    usual = [name for name in names if name.strip().lower() == COLUMN]
    likely = usual or [name for name in names if COLUMN in name.lower()]
    return likely[0] if len(set(likely)) == 1 else None


def text_of(record: Record, column: str = "") -> str:
    """The SMILES of a record, as they are in its file; of a block of an SD file, canonical ones.

    Args:
        record: the record.
        column: of SMILES, in rows; empty for the usual one.

    Raises:
        BadItem: it has none.
    """
    match record:
        case Row():
            name = column_of(record.values, column)
            if name is None:
                raise no_column(record, column)
            return record.values[name].strip()
        case NamedLine():
            text, rest = parts_of(record.text)
            if rest.startswith("|"):
                raise BadItem(
                    f"{printable(record.name)} has an extension of SMILES: {printable(rest, 40)}.",
                    "Expected SMILES, and perhaps a name.",
                    "Write it without the extension.",
                )
            return text
        case Block():
            try:
                return canonical(read_block(record.text))
            except ValueError as error:
                raise unreadable(record.name, "a block", str(error)) from error
        case _:
            raise BadItem(f"A {type(record).__name__} is no molecule.", EXPECTED, "")


def key_of(record: Record) -> str:
    """Where a record is, for messages."""
    return "" if isinstance(record, FileRecord) else record.name


def name_of(record: Record) -> str:
    """The name of a molecule in its file; empty if it has none."""
    match record:
        case NamedLine():
            return parts_of(record.text)[1]
        case Block():
            return record.text.partition("\n")[0].strip()
        case _:
            return ""


def line_of(record: Record, column: str = "") -> str:
    """A record as a line of a file of SMILES; see `text_of`.

    Raises:
        BadItem: it has no SMILES.
    """
    if isinstance(record, NamedLine):
        return record.text
    text, name = text_of(record, column), name_of(record)
    return f"{text}\t{name}" if name else text


def parts_of(line: str) -> tuple[str, str]:
    """SMILES and name of a line; a line that starts with white space has no SMILES.

    >>> parts_of("CCO\\tethanol, pure"), parts_of("\\tinvalid")
    (('CCO', 'ethanol, pure'), ('', 'invalid'))
    """
    if not line or line[0].isspace():
        return "", line.strip()
    text, *rest = line.split(None, 1)
    return text, rest[0].strip() if rest else ""


def unreadable(name: str, what: str, reason: str) -> BadItem:
    """The error for a record that is no molecule, or one that a VAE does not take."""
    return BadItem(f"{printable(name)} has {what} that cannot be taken: {printable(reason, 300)}.", "", "")


def no_column(record: Row, column: str) -> BadItem:
    """The error for a row without a column of SMILES."""
    wanted = f"column {printable(repr(column))}" if column else f"single column named {COLUMN}"
    return BadItem(
        f"{printable(record.name)} has no {wanted}, but {shorten(record.values, 20)}.",
        "Expected a column of SMILES.",
        did_you_mean(column, list(record.values)) or "Name it, as in --set data.column=structure or in [data].",
    )
