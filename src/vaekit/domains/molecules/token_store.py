"""The molecules of a data set as tokens, converted once: a memory map in the user's cache folder.

CACHE/molecules/KEY/tokens.npy    the tokens of all molecules, one after another, as numbers of 8 or 16 bits
CACHE/molecules/KEY/starts.npy    where each molecule starts, and the end of the last one
CACHE/molecules/KEY/store.json    the tokens by number, and the reasons for molecules without tokens

KEY is a hash of the SMILES, of how they are converted, and of the versions of RDKit and selfies.
"""

import hashlib
import json
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray

from vaekit.atomic import atomic_folder, cannot_write
from vaekit.datasets.dataset import Dataset, Row
from vaekit.datasets.skip_log import silent
from vaekit.domains.molecules.chemistry import Normalization, rdkit, shown
from vaekit.domains.molecules.codecs import selfies
from vaekit.domains.molecules.conversion import converted
from vaekit.domains.molecules.records import column_of, no_column, text_of, unreadable
from vaekit.errors import BadItem, CannotWrite, NotFound, NoTrainingData
from vaekit.reading import read_json
from vaekit.user_dirs import cache_folder

VERSION = 1
"""Of the files."""
LEAST = 2000
"""Molecules from which on the result is kept."""
TOKENS, STARTS, STORE = "tokens.npy", "starts.npy", "store.json"
MOST_TOKENS = 2**16
"""Different ones."""
SECONDS = 10.0
"""Between two messages."""


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Molecules as tokens."""

    tokens: tuple[str, ...]
    """By number."""
    flat: NDArray[np.unsignedinteger[Any]]
    """The numbers of all molecules, one after another."""
    starts: NDArray[np.int64]
    """(n + 1,)."""
    problems: Mapping[int, Sequence[str]]
    """Molecule to its SMILES, for messages, and the reason, for those without tokens."""
    unread: Mapping[int, str] = field(default_factory=dict)
    """Molecule to message, for those whose records cannot be read; they are among the problems, too."""
    folder: Path | None = None
    """Of its files; None in memory."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the path of the files, not their content."""
        if self.folder is None:
            return super().__reduce_ex__(protocol)
        return reopened, (self.folder, len(self.starts) - 1, self.unread)

    def message(self, row: int, name: str) -> str:
        """Why a molecule of this name has no tokens."""
        return self.unread.get(row) or str(unreadable(name, *self.problems[row]))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each molecule; 0 for those with problems."""
        return np.diff(self.starts)

    def counts(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """How often each token occurs in some molecules."""
        chosen = np.zeros(len(self.lengths), bool)
        chosen[rows] = True
        counts = np.bincount(self.flat[np.repeat(chosen, self.lengths)], minlength=len(self.tokens))
        return {token: count for token, count in zip(self.tokens, counts.tolist(), strict=True) if count}

    def having(self, rows: NDArray[np.int64], has: Callable[[str], bool]) -> int:
        """The number of these molecules with some token."""
        marked = np.array([has(token) for token in self.tokens], bool)
        totals = np.concatenate([[0], np.cumsum(marked[self.flat])])
        return int((totals[self.starts[rows + 1]] > totals[self.starts[rows]]).sum())


def token_store(
    dataset: Dataset, codec: str, normal: Normalization, column: str, say: Callable[[str], None]
) -> TokenStore:
    """The molecules of a data set as tokens, from the cache if they were converted before.

    Args:
        dataset: the data.
        codec, normal: how molecules are converted.
        column: of SMILES, in tables; empty for the usual one.
        say: called with messages about progress.

    Raises:
        NoTrainingData: a table has no column of SMILES.
        MissingPackage: RDKit or selfies is not installed.
    """
    texts, unread = texts_of(dataset, column)
    store = kept_store(texts, codec, normal, say) if len(texts) >= LEAST else convert_all(texts, codec, normal, say)
    return replace(store, unread=unread)


def kept_store(texts: Sequence[str], codec: str, normal: Normalization, say: Callable[[str], None]) -> TokenStore:
    """SMILES as tokens, from the cache if they were converted before; only in memory if the cache cannot be written."""
    folder = cache_folder() / "molecules" / key_of(texts, codec, normal)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(FileLock(folder.with_suffix(".lock")), say):
            known = read_store(folder, len(texts))
            if known is not None:
                return known
            store = convert_all(texts, codec, normal, say)
            try:
                write_store(store, folder)
            except CannotWrite as error:
                say(f"The tokens are not kept for the next run: {error.found}")
            return read_store(folder, len(texts)) or store
    except OSError as error:
        say(f"The tokens are not kept for the next run: {cannot_write(folder, error).found}")
        return convert_all(texts, codec, normal, say)


@contextmanager
def held(lock: BaseFileLock, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock, and tell if that takes a while."""
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say("Another process converts these molecules to tokens. Waiting for its result.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def texts_of(dataset: Dataset, column: str) -> tuple[list[str], dict[int, str]]:
    """The SMILES of all records, empty for those that cannot be read; and the reasons for these.

    Raises:
        NoTrainingData: a table has no column of SMILES.
    """
    texts: list[str] = []
    problems: dict[int, str] = {}
    for number in range(len(dataset)):
        try:
            record = dataset.read(number)
            if number == 0 and isinstance(record, Row) and column_of(record.values, column) is None:
                error = no_column(record, column)
                raise NoTrainingData(error.found, error.expected, error.remedy)
            texts.append(text_of(record, column))
        except (BadItem, NotFound) as error:
            texts.append("")
            problems[number] = str(error)
    return texts, problems


def key_of(texts: Sequence[str], codec: str, normal: Normalization) -> str:
    """The name of a folder for the tokens of SMILES.

    Raises:
        MissingPackage: RDKit or selfies is not installed.
    """
    versions = [version_of(rdkit("rdBase"), "rdkitVersion"), version_of(selfies(), "__version__"), VERSION]
    digest = hashlib.sha256(json.dumps([codec, normal.stereo, normal.fragments, *versions]).encode())
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(content) + content)  # a cell of a table may have line ends
    return digest.hexdigest()[:40]


def version_of(package: ModuleType, attribute: str) -> str:
    """The version of a package, which need not have been installed with metadata."""
    return str(getattr(package, attribute, ""))


def convert_all(
    texts: Sequence[str], codec: str, normal: Normalization, say: Callable[[str], None] = silent
) -> TokenStore:
    """Convert SMILES to tokens, in memory.

    Args:
        texts: SMILES.
        codec, normal: how.
        say: called with messages about progress.

    Raises:
        MissingPackage: RDKit or selfies is not installed.
    """
    numbers: dict[str, int] = {}
    flat, starts = array("H"), [0]
    problems: dict[int, Sequence[str]] = {}
    begin = said = time.monotonic()
    if len(texts) >= LEAST:
        say(f"Converting {len(texts):,} molecules to tokens. The result is kept for the next run.")
    for row, found in enumerate(converted(texts, codec, normal)):
        if isinstance(found, list) and len(numbers) + len(found) <= MOST_TOKENS:
            flat.extend(numbers.setdefault(token, len(numbers)) for token in found)
        else:
            reason = "there are too many different tokens" if isinstance(found, list) else found
            problems[row] = shown(texts[row]), reason
        starts.append(len(flat))
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            left = (said - begin) * (len(texts) - row) / (row + 1)
            say(f"{row + 1:,} of {len(texts):,} molecules are converted; {left:.0f} s are left.")
    dtype = np.uint8 if len(numbers) <= 2**8 else np.uint16
    return TokenStore(tuple(numbers), np.array(flat, dtype), np.array(starts, np.int64), problems)


def write_store(store: TokenStore, folder: Path) -> None:
    """Write a store.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    with atomic_folder(folder) as part:
        np.save(part / TOKENS, store.flat)
        np.save(part / STARTS, store.starts)
        plain = {"tokens": store.tokens, "problems": list(store.problems.items())}
        (part / STORE).write_text(json.dumps(plain), "utf-8")


def read_store(folder: Path, count: int) -> TokenStore | None:
    """The store in a folder; None if there is none, if it is damaged, or if it has another number of molecules."""
    try:
        flat, starts = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (TOKENS, STARTS))
        plain = read_json(folder / STORE, 2**30)
        tokens = tuple(map(str, plain["tokens"]))
        problems = {int(row): (str(text), str(why)) for row, (text, why) in plain["problems"]}
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    valid = flat.ndim == starts.ndim == 1 and len(starts) == count + 1 and flat.dtype in (np.uint8, np.uint16)
    if not valid or starts.dtype != np.int64 or starts[0] != 0 or starts[-1] != len(flat):
        return None
    if (np.diff(starts) < 0).any() or (len(flat) and int(flat.max()) >= len(tokens)):
        return None
    return TokenStore(tokens, flat, starts, problems, folder=folder)


def reopened(folder: Path, count: int, unread: Mapping[int, str]) -> TokenStore:
    """A store in another process: the unpickled form of one in files.

    Raises:
        NoTrainingData: the files are gone.
    """
    store = read_store(folder, count)
    if store is None:
        raise NoTrainingData(
            f"The tokens in {folder} are gone or damaged.", "They were made for this run.", "Prepare the run again."
        )
    return replace(store, unread=unread)
