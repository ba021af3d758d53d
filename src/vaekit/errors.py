"""The errors that vaekit raises for problems a user can fix, as one tree.

    VaekitError                   base class: catch this one
    ├── BadItem                   an item (an image, say) that cannot be read: wrong type, damaged or too large
    ├── BadCheckpoint             a weights file that is damaged, hostile, or not a weights file
    │   └── UnsafePickle          a pickle that references code execution; it was refused and nothing was run
    ├── UnknownVAE                readable weights of no VAE family that vaekit knows
    │   └── NotRunnable           a VAE that vaekit recognizes by its tensors but cannot run
    ├── WrongTensors              a known family with missing, unexpected or misshapen tensors
    ├── BadLatent                 a latent file that is damaged or not a latent file
    ├── BadCorrection             a color correction that is damaged or belongs to another VAE
    ├── LatentMismatch            latents or a checkpoint of another latent space than the VAE's
    ├── UnknownNormalization      a latent normalization is required but neither known nor given
    ├── NoPrior                   samples were requested of a VAE without a prior that can be sampled
    ├── HalfMissing               the encoder of a decoder-only VAE was requested, or vice versa
    ├── NotFound                  a file, folder or name that does not exist
    │   └── AmbiguousName         a name that matches several files
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
    ├── MissingPackage            a required optional package is not installed
    └── BadPlan                   an invalid plan: unknown dtype, missing device, or a padding
        │                         that the network does not support
        └── TooLittleMemory       an image that needs more memory than allowed, even with streaming

Each message states what was found, what was expected and what to do, in this order.
"""

import difflib
from collections.abc import Iterable


class VaekitError(Exception):
    """A problem that the user can fix.

    Args:
        found: what is wrong, with names and numbers; a full sentence.
        expected: what would have been valid; a full sentence, or empty where `found` suffices.
        remedy: what to do; a full sentence, or empty.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(" ".join(part for part in (found, expected, remedy) if part))


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


class BadCorrection(VaekitError):
    """A color correction file that is damaged, of another type, or made for another VAE."""


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


class MissingPackage(VaekitError):
    """A feature needs an optional package that is not installed."""


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the most similar names; empty if none is similar.

    >>> did_you_mean("tabel", ["tables", "text"])
    'Did you mean tables?'
    """
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"Did you mean {' or '.join(map(printable, close))}?" if close else ""
