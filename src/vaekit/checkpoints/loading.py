"""A name or a path -> a VAE, strictly: every tensor of the network comes from the file, or it is an error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from vaekit.checkpoints.building import build
from vaekit.checkpoints.cards import card_named
from vaekit.checkpoints.collection.folders import models_folders
from vaekit.checkpoints.collection.names import find_named
from vaekit.checkpoints.formats.files import is_there
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.settling import settle
from vaekit.vae import VAE


def load(
    name_or_path: str | Path,
    *,
    kind: str | None = None,
    padding: str | None = None,
    models: Sequence[Path] | None = None,
) -> VAE:
    """Load a VAE in evaluation mode, with the dtype that its file has.

    Where the file's headers leave the normalization or the padding open (SD1 or SDXL?), its weights are hashed and
    looked up among the known VAEs. Without a card they are measured: their normalization, if they have the shapes of
    published models; their padding, if they are convolutional. That takes seconds once, and is remembered; with `kind`
    and `padding` given, nothing is measured. An unknown normalization stays None.

    Args:
        name_or_path: the name of a known VAE ("builtin") or of a file in a models folder, a weights file, a diffusers
            folder, or a folder with the encoder and the decoder of one VAE. A file with one half gives a VAE with that
            half.
        kind: which of the known latent spaces it is, where you know better: "SD1", "SDXL", "FLUX.1", ...
        padding: "zeros" or "reflect", whatever the file says of it: what its 3x3 convolutions see beyond the edge.
        models: where names are looked up; see `models_folders` for where they are when this is None.

    Raises:
        NotFound, AmbiguousName: nothing has this name, or too much; or there is no such kind.
        BadPlan: a padding was asked for that there is not, or that this family does not have.
        BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path, models) as path:
        return build(settle(identify(path), kind, padding))


@contextmanager
def located(name_or_path: str | Path, models: Sequence[Path] | None = None) -> Iterator[Path]:
    """The file that a name stands for, or the path itself.

    The name of a VAE inside the package wins: `./builtin` means the path. Then a path to something that is there; then
    what `find_named` finds in the models folders.

    Raises:
        NotFound: it is neither a name nor a path to something, or a known VAE that was not fetched yet.
        AmbiguousName: several files have this name.
    """
    card = card_named(str(name_or_path))
    if card is not None and card.packaged:
        with resources.as_file(resources.files("vaekit.checkpoints").joinpath(card.packaged)) as path:
            yield path
    elif is_there(Path(name_or_path)):
        yield Path(name_or_path)
    else:
        yield find_named(str(name_or_path), models_folders(models))
