"""Every error a user can cause, as one tree.

    VaekitError                   anything below: catch this one
    ├── BadItem                a file that is not an image, or one too broken or too large to read
    ├── BadCheckpoint             a weights file that is damaged, hostile, or not a weights file
    │   └── UnsafePickle          a pickle that names what only serves to run code; nothing ran
    ├── UnknownVAE                weights that are fine, but not those of a VAE that vaekit knows
    │   └── NotRunnable           a VAE that vaekit knows by its tensors, and has no network for
    ├── WrongTensors              the right family with tensors missing, left over or misshapen
    ├── BadLatent                 a latent file that is damaged or not a latent file
    ├── BadCorrection             a correction of colors that is damaged, or another VAE's
    ├── LatentMismatch            latents, or a checkpoint, of one kind given a VAE of another
    ├── UnknownNormalization              a scale and shift are needed, and neither file, shapes nor user tell them
    ├── HalfMissing               an encoder asked of a decoder-only file, or the other way round
    ├── NotFound                  a file, folder or name that is not there
    │   └── AmbiguousName         a name that several files have
    ├── CannotFetch               a file that the Hub did not give: no network, no access, no such file
    │   └── WrongHash             a file that is not the one it should be
    ├── CannotPush                files that the Hub did not take: no token, no permission, no network
    ├── CannotWrite               a file that cannot be written
    │   └── CannotWriteHere       a full disk or a read-only folder: other files there cannot be written either
    ├── CannotExport              a network that cannot be exported, or whose exported program gives other results
    ├── NothingEvaluated           data of which not one item could be evaluated
    ├── NoTrainingData            data of which not one item can be trained on
    ├── UnknownDomain             a domain, such as images or tables, that vaekit does not know
    ├── BadRecipe                 a recipe that describes no training
    ├── RecipeChanged             a folder that holds a run with another recipe
    ├── TrainingStopped           a training that was asked to end before its time
    ├── TrainingDiverged          a loss that is no number any more
    ├── ProtocolChanged           a folder that holds an evaluation of another protocol
    ├── MissingPackage            an optional package that this needs and that is not installed
    └── BadPlan                   a plan that cannot be carried out: unknown dtype, absent device, a padding
        │                         that the network does not have
        └── TooLittleMemory       an image that does not fit into the memory it may take, however sparingly it is run

Each one tells what was found, what was expected and what to do, in that order.
"""

from collections.abc import Iterable


class VaekitError(Exception):
    """A problem that the user can mend.

    Args:
        found: what is there, with names and numbers; a full sentence.
        expected: what would have been right; a full sentence, or empty where `found` says it all.
        remedy: what to do now; a full sentence.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(" ".join(part for part in (found, expected, remedy) if part))


class BadItem(VaekitError):
    """A file that is not an image, or one too broken or too large to read."""


class BadCheckpoint(VaekitError):
    """A weights file that is damaged, hostile, or not a weights file."""


class UnsafePickle(BadCheckpoint):
    """A pickle that names what only serves to run code. It was refused, and nothing of it ran."""


class UnknownVAE(VaekitError):
    """The tensors are readable but belong to no VAE family that vaekit knows."""


class NotRunnable(UnknownVAE):
    """The tensors are those of a VAE that vaekit recognizes and cannot run. The message says what can."""


class WrongTensors(VaekitError):
    """Tensors are missing, left over or have the wrong shape for the family that the rest belongs to."""


class BadLatent(VaekitError):
    """A latent file that is damaged or not a latent file."""


class BadCorrection(VaekitError):
    """A file with a correction of colors that is damaged, something else, or made for another VAE."""


class LatentMismatch(VaekitError):
    """Latents, or a checkpoint that works with latents, of another latent space than the given VAE's."""


class UnknownNormalization(VaekitError):
    """How a diffusion model sees the latents is needed, and is neither known nor given. It is never guessed."""


class HalfMissing(VaekitError):
    """The VAE holds only its encoder or only its decoder, and the other half was asked for."""


class NotFound(VaekitError):
    """A file, a folder or a name that is not there."""


class AmbiguousName(NotFound):
    """Several files have this name; none was chosen."""


class CannotFetch(VaekitError):
    """A file could not be fetched; nothing was left under its final name."""


class WrongHash(CannotFetch):
    """What came, or what is there already, is not the file with the expected SHA-256."""


class CannotPush(VaekitError):
    """Files could not be put on the Hub. A commit is all or nothing: what was there before is as it was."""


class CannotWrite(VaekitError):
    """A file could not be written; nothing half-written was left under its name."""


class CannotWriteHere(CannotWrite):
    """The disk is full or the folder cannot be written: other files there cannot be written either."""


class CannotExport(VaekitError):
    """A network cannot be written as a program of the wanted kind, or the program gave something else when run."""


class NothingEvaluated(VaekitError):
    """Not one item of the data could be evaluated."""


class NoTrainingData(VaekitError):
    """Data in which nothing to train on was found, or of which not one item can be read."""


class UnknownDomain(VaekitError):
    """A recipe or a VAE file of a domain, such as images or tables, that vaekit does not know."""


class BadRecipe(VaekitError):
    """A recipe that describes no training: a part, term or value that there is not."""


class RecipeChanged(VaekitError):
    """The folder holds a run that was begun with another recipe, seed or data. Nothing in it was touched."""


class TrainingStopped(VaekitError):
    """A training was asked to end. Its state is saved, and the same call goes on."""


class TrainingDiverged(VaekitError):
    """A loss or gradient that is not finite. The weights are those before it."""


class ProtocolChanged(VaekitError):
    """The folder holds an evaluation of another protocol. Nothing in it was touched."""


class MissingPackage(VaekitError):
    """Something was asked for that needs an optional package, which is not installed."""


class BadPlan(VaekitError):
    """The plan names a dtype, device or padding that cannot be used here."""


class TooLittleMemory(BadPlan):
    """An image cannot be encoded or decoded in the memory that the plan allows. Nothing was run.

    Args:
        least: the bytes that would do.
    """

    def __init__(self, found: str, expected: str, remedy: str, least: int) -> None:
        self.least = least
        super().__init__(found, expected, remedy)


def printable(text: str, most: int = 120) -> str:
    """Foreign text made fit for a message: one line, nothing in it that a terminal would obey, not endless."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    words = " ".join(printable.split())
    return words if len(words) <= most else words[:most] + "..."


def shorten(names: Iterable[str], most: int = 12) -> str:
    """The first names of a list, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(printable, listed[:most])) + more
