"""A name or a path -> a VAE, strictly: every tensor of the network comes from the file, or it is an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from vaekit.checkpoints.building import build
from vaekit.checkpoints.cards import card_named, cards
from vaekit.checkpoints.formats.files import is_there
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.settling import padded, settle
from vaekit.errors import NotFound, legible
from vaekit.vae import VAE


def load(name_or_path: str | Path, *, kind: str | None = None, padding: str | None = None) -> VAE:
    """Load a VAE in evaluation mode, with the dtype that its file has.

    Where the file's headers leave the frame open (SD1 or SDXL?), its weights are hashed and looked up among the known
    VAEs; a frame that nobody knows stays None.

    Args:
        name_or_path: the name of a known VAE ("builtin"), a weights file, a diffusers folder, or a folder with the
            encoder and the decoder of one VAE. A file with one half gives a VAE with that half.
        kind: which of the known latent spaces it is, where you know better: "SD1", "SDXL", "FLUX.1", ...
        padding: "zeros" or "reflect", whatever the file says of it: what its 3x3 convolutions see beyond the edge.
            Weights do not tell it, and files seldom do; without it, what the file says, else zeros.

    Raises:
        NotFound: nothing has this name, or there is no such kind.
        BadPlan: a padding was asked for that there is not, or that this family does not have.
        BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path) as path:
        return build(padded(settle(identify(path), kind), padding))


@contextmanager
def located(name_or_path: str | Path) -> Iterator[Path]:
    """The file that a name stands for, or the path itself. A known name wins: `./builtin` means the path.

    Raises:
        NotFound: it is neither a known name nor a path to something.
    """
    card = card_named(str(name_or_path))
    if card is not None and card.packaged:
        with resources.as_file(resources.files("vaekit.checkpoints").joinpath(card.packaged)) as path:
            yield path
        return
    if not is_there(Path(name_or_path)):
        known = ", ".join(card.name for card in cards()) or "none yet"
        raise NotFound(
            f"There is no VAE called {legible(str(name_or_path))!r} and no file or folder of that name.",
            f"Known names: {known}.",
            "Give one of these, or the path to a VAE.",
        )
    yield Path(name_or_path)
