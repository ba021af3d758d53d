"""The errors that vaekit raises for problems a user can fix, as one tree.

    VaekitError                   base class: catch this one
    ├── BadItem                   an item (an image, say) that cannot be read: wrong type, damaged or too large
    ├── BadCheckpoint             a weights file that is damaged, hostile, or not a weights file
    │   └── UnsafePickle          a pickle that references code execution; it was refused and nothing was run
    ├── UnknownVAE                readable weights of no VAE family that vaekit knows
    │   └── NotRunnable           a VAE that vaekit recognizes by its tensors but cannot run
    ├── WrongTensors              a known family with missing, unexpected or misshapen tensors
    ├── BadLatent                 a latent file that is damaged or not a latent file
    ├── BadDirection              a file of a latent direction that is damaged or something else
    ├── BadCorrection             a color correction that is damaged or belongs to another VAE
    ├── BadReference              statistics of normal data that are damaged or belong to another VAE
    ├── LatentMismatch            latents or a checkpoint of another latent space than the VAE's
    ├── UnknownNormalization      a latent normalization is required but neither known nor given
    ├── NoPrior                   samples were requested of a VAE without a prior that can be sampled
    ├── HalfMissing               the encoder of a decoder-only VAE was requested, or vice versa
    ├── NotFound                  a file, folder or name that does not exist
    │   └── AmbiguousName         a name that matches several files
    ├── CannotRead                a file or folder that the system does not let vaekit read
    ├── OutOfMemory               the machine's memory is not sufficient
    ├── CannotFetch               a download from the Hub failed: no network, no access, no such file
    │   └── WrongHash             a file without the expected SHA-256
    ├── CannotPush                an upload to the Hub failed: no token, no permission, no network
    ├── CannotWrite               a file that cannot be written
    │   └── CannotWriteHere       a full disk or a read-only folder: writing other files there fails too
    ├── CannotExport              a network that cannot be exported, or whose export computes other results
    ├── NothingEvaluated          no item of the data could be evaluated
    ├── NoTrainingData            no item of the data can be used for training
    ├── UnknownDomain             a domain, such as images or tables, that vaekit does not know
    ├── BadRecipe                 an invalid training recipe
    ├── RecipeChanged             the folder holds a run with another recipe
    ├── TrainingStopped           training was interrupted on request
    ├── TrainingDiverged          a non-finite loss or gradient
    ├── ProtocolChanged           the folder holds an evaluation with another protocol
    ├── BadIndex                  an index of items that is damaged, hostile, or not an index
    ├── IndexMismatch             an index of another VAE, embedding or data
    ├── BadCache                  a cache of latents that is damaged, hostile, or not a cache
    ├── CacheMismatch             a cache of another VAE, other settings or other data
    ├── BadArchive                a compressed file that is damaged, of another version, or not one
    ├── ArchiveMismatch           a compressed file that needs another VAE
    ├── MissingPackage            a required optional package is not installed
    ├── ClusterFailed             a cluster that cannot be reached, or that was lost
    ├── ShardFailed               a part of the work whose workers died again and again
    └── BadPlan                   an invalid plan: unknown dtype, missing device, or a padding
        │                         that the network does not support
        └── TooLittleMemory       an image that needs more memory than allowed, even with streaming

Each message states what was found, what was expected and what to do, in this order.
"""

import copyreg
import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of writing that concern the whole disk rather than one file."""
REMEDIES = {
    errno.EACCES: "Check the permissions of the file and of the folders above it.",
    errno.EPERM: "Check the permissions of the file and of the folders above it.",
    errno.ENAMETOOLONG: "Use a shorter name or path.",
    errno.ELOOP: "Replace the symbolic links, which refer to each other, by the file or folder that is meant.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a part of it is a file, not a folder.",
    errno.EISDIR: "Give a file instead of a folder.",
    errno.ESPIPE: "Copy its content to a file, and give that.",
    errno.E2BIG: "Check that this is the file that is meant.",
    errno.EMFILE: "Close files, or raise the limit of open files (ulimit -n).",
}
"""Remedies for errors of reading, by the system's error number."""
LONGEST_PATH = 400
"""Characters of a path in a message."""
CONTROL = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Characters that control a terminal (C0, DEL, C1), change the direction of text, break lines or are invisible; and
lone surrogates, as which Python decodes bytes of file names that are not UTF-8. Joiners, which are part of words and
emoji, are not among them."""


class VaekitError(Exception):
    """A problem that the user can fix.

    Its text is safe to print: control characters, which names of files may contain, are escaped (see `visible`).

    Args:
        found: what is wrong, with names and numbers; a full sentence.
        expected: what would have been valid; a full sentence, or empty where `found` suffices.
        remedy: what to do; a full sentence, or empty.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found, self.expected, self.remedy = map(visible, (found, expected, remedy))
        super().__init__(" ".join(part for part in (self.found, self.expected, self.remedy) if part))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it without a call of `__init__`, whose arguments differ between the classes."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class BadItem(VaekitError):
    """An item of the data, such as an image file, that cannot be read: wrong type, damaged or too large."""


class BadCheckpoint(VaekitError):
    """A weights file that is damaged, hostile, or not a weights file."""


class UnsafePickle(BadCheckpoint):
    """A pickle that references functions which execute code. It was refused; nothing in it was run."""


class UnknownVAE(VaekitError):
    """The tensors are readable but belong to no VAE family that vaekit knows."""


class NotRunnable(UnknownVAE):
    """The tensors are those of a VAE that vaekit recognizes but cannot run. The message names software that can."""


class WrongTensors(VaekitError):
    """Tensors are missing, unexpected or have the wrong shape for the family of the other tensors."""


class BadLatent(VaekitError):
    """A latent file that is damaged or not a latent file."""


class BadDirection(VaekitError):
    """A file of a direction in latent space that is damaged or something else."""


class BadCorrection(VaekitError):
    """A color correction file that is damaged, of another type, or made for another VAE."""


class BadReference(VaekitError):
    """Statistics of normal data that are damaged, of another type, or made with another VAE."""


class LatentMismatch(VaekitError):
    """Latents, or a checkpoint with a diffusion model, of another latent space than the VAE's."""


class UnknownNormalization(VaekitError):
    """The latent normalization is required but neither known nor given. It is never guessed."""


class NoPrior(VaekitError):
    """The VAE has no prior that can be sampled."""


class HalfMissing(VaekitError):
    """The VAE has only an encoder or only a decoder, and the other half was requested."""


class NotFound(VaekitError):
    """A file, a folder or a name that does not exist."""


class AmbiguousName(NotFound):
    """Several files match this name; none was chosen."""


class CannotRead(VaekitError):
    """The system refuses to read a file or folder: no permission, a name that is too long, a loop of links, or no
    regular file, such as a pipe or a device."""


class OutOfMemory(VaekitError):
    """The machine's memory is not sufficient."""


class CannotFetch(VaekitError):
    """A file could not be downloaded; no incomplete file exists under its final name."""


class WrongHash(CannotFetch):
    """A downloaded or existing file does not have the expected SHA-256."""


class CannotPush(VaekitError):
    """Files could not be uploaded to the Hub. A commit is atomic: the repository is unchanged."""


class CannotWrite(VaekitError):
    """A file could not be written; no incomplete file exists under its name."""


class CannotWriteHere(CannotWrite):
    """The disk is full or the folder is not writable: writing other files there fails too."""


class CannotExport(VaekitError):
    """A network cannot be exported to this format, or the exported program computes other results."""


class NothingEvaluated(VaekitError):
    """No item of the data could be evaluated."""


class NoTrainingData(VaekitError):
    """The data holds no items for training, or none that can be read."""


class UnknownDomain(VaekitError):
    """A recipe or a VAE file of a domain, such as images or tables, that vaekit does not know."""


class BadRecipe(VaekitError):
    """An invalid training recipe: an unknown section, loss term, key or value."""


class RecipeChanged(VaekitError):
    """The folder holds a run that was started with another recipe, seed or data. The folder is unchanged."""


class TrainingStopped(VaekitError):
    """Training was interrupted on request. Its state is saved; the same call resumes it."""


class TrainingDiverged(VaekitError):
    """A loss or gradient is non-finite. The weights are those of the last finite step."""


class ProtocolChanged(VaekitError):
    """The folder holds an evaluation with another protocol. The folder is unchanged."""


class BadIndex(VaekitError):
    """An index of items that is damaged, of another version, or not an index."""


class IndexMismatch(VaekitError):
    """An index that was made with another VAE, another embedding or other data. The index is unchanged."""


class BadCache(VaekitError):
    """A cache of latents that is damaged, of another version, or not one."""


class CacheMismatch(VaekitError):
    """A cache of latents that was made with other settings. The cache is unchanged."""


class BadArchive(VaekitError):
    """A compressed file that is damaged, of another version, or not one."""


class ArchiveMismatch(VaekitError):
    """A compressed file that needs another VAE."""


class MissingPackage(VaekitError):
    """A feature needs an optional package that is not installed."""


class ClusterFailed(VaekitError):
    """A cluster, or the workers on this machine, cannot be reached or started, or were lost. What is done is kept."""


class ShardFailed(VaekitError):
    """Several workers died while they processed the same part of the work. What is done is kept."""


class BadPlan(VaekitError):
    """The plan names a dtype, device or padding that is not available."""


class TooLittleMemory(BadPlan):
    """An image cannot be encoded or decoded within the memory that the plan allows. Nothing was run.

    Args:
        least: the smallest sufficient limit in bytes.
    """

    def __init__(self, found: str, expected: str, remedy: str, least: int) -> None:
        self.least = least
        super().__init__(found, expected, remedy)


def visible(text: str) -> str:
    """Text with control characters, overrides of its direction, and bytes that are not UTF-8 as escape sequences.

    >>> visible("\\x1b[2J caf\\udce9")
    '\\\\x1b[2J caf\\\\xe9'
    """
    return text if text.isascii() and text.isprintable() else CONTROL.sub(_escaped, text)


def _escaped(match: "re.Match[str]") -> str:
    number = ord(match[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def reason_of(error: BaseException) -> str:
    """The reason that the system states, without the name of the file."""
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    return (isinstance(error, OSError) and error.strerror) or printable(str(error)) or type(error).__name__


def _shown(path: str) -> str:
    """A path for a message, without the middle of a very long one."""
    return path if len(path) <= LONGEST_PATH else f"{path[: LONGEST_PATH // 2]}...{path[-LONGEST_PATH // 2 :]}"


def remedy_for(error: OSError) -> str:
    """The remedy for an error of reading, a sentence."""
    return REMEDIES.get(error.errno or 0, "Check the file or folder and its disk.")


def of_system(error: OSError | MemoryError) -> VaekitError:
    """Convert an error of the operating system, or of Python on its behalf. Raise the result `from error`."""
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return OutOfMemory(
            "The memory of this machine is not sufficient.",
            "",
            "Give less at once: smaller files or items, or a smaller batch; and close other programs.",
        )
    names = " and ".join(_shown(str(name)) for name in (error.filename, error.filename2) if name is not None)
    about, reason = f"{names}: " if names else "", reason_of(error)
    if error.errno in FULL_DISK or error.errno == errno.EFBIG:
        return CannotWriteHere(
            f"{about}{reason}.",
            "Expected a writable disk with enough free space.",
            "Free some space, and run it again.",
        )
    return CannotRead(f"{about}{reason}.", "", remedy_for(error))


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise errors of the operating system and of memory in the block, or in a function, as errors of vaekit.

    Functions for users are decorated with it; the command line does the same for all others.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        raise of_system(error) from error


def printable(text: str, most: int = 120) -> str:
    """Untrusted text sanitized for a message: one line, no control characters, at most `most` characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= most else line[:most] + "..."


def shorten(names: Iterable[str], most: int = 12) -> str:
    """A comma-separated list of the first `most` names, with the number of names left out."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(printable, listed[:most])) + more


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "tensor"), counted(2000, "tensor"), counted(0, "entry", "entries")
    ('1 tensor', '2,000 tensors', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the most similar names; empty if none is similar.

    >>> did_you_mean("tabel", ["tables", "text"])
    'Did you mean tables?'
    """
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"Did you mean {' or '.join(map(printable, close))}?" if close else ""
