"""A name or a path -> a VAE, strictly: every tensor of the network comes from the file, or it is an error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.cards import card_named
from vaekit.checkpoints.collection.folders import models_folders
from vaekit.checkpoints.collection.names import find_named
from vaekit.checkpoints.families import assemble
from vaekit.checkpoints.formats.files import is_there
from vaekit.checkpoints.identify import Identified, identify
from vaekit.vae import VAE


def load(name_or_path: str | Path, *, models: Sequence[Path] | None = None) -> VAE:
    """Load a VAE in evaluation mode, with the dtype that its file has.

    Args:
        name_or_path: the name of a known VAE ("builtin") or of a file in a models folder, a weights file, a diffusers
            folder, or a folder with the encoder and the decoder of one VAE. A file with one half gives a VAE with that
            half.
        models: where names are looked up; see `models_folders` for where they are when this is None.

    Raises:
        NotFound, AmbiguousName: nothing has this name, or too much.
        BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path, models) as path:
        return build(identify(path))


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


def build(identified: Identified) -> VAE:
    """The network on the meta device, then the file's own tensors put in their places: no memory is used twice."""
    with torch.device("meta"):
        vae = assemble(identified.family, identified.config, identified.halves, identified.frame)
    shapes = {key: tensor.shape for key, tensor in vae.state_dict().items()}
    tensors = {key: tensor.reshape(shapes[key]) for key, tensor in read_native(identified).items()}
    vae.load_state_dict(tensors, strict=True, assign=True)
    return vae.eval()


def read_native(identified: Identified) -> dict[str, Tensor]:
    """The VAE's tensors under their native keys, in the file's shapes and dtype."""
    tensors: dict[str, Tensor] = {}
    for part in identified.parts:
        read = part.file.read(part.names.values())
        tensors |= {native: read[name] for native, name in part.names.items()}
    return tensors
