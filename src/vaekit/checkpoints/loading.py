"""A name or a path -> a VAE, strictly: every tensor of the network comes from the file, or it is an error."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.cards import card_of, cards
from vaekit.checkpoints.families import assemble
from vaekit.checkpoints.formats.files import is_there
from vaekit.checkpoints.identify import Identified, identify
from vaekit.errors import BadPlan, NotFound, legible
from vaekit.nets.kl import PADDINGS, ZEROS, KLConfig
from vaekit.vae import VAE


def load(name_or_path: str | Path, padding: str | None = None) -> VAE:
    """Load a VAE in evaluation mode, with the dtype that its file has.

    Args:
        name_or_path: the name of a known VAE ("builtin"), a weights file, a diffusers folder, or a folder with the
            encoder and the decoder of one VAE. A file with one half gives a VAE with that half.
        padding: "zeros" or "reflect", whatever the file says of it: what its 3x3 convolutions see beyond the edge.
            Weights do not tell it, and files seldom do; without it, what the file says, else zeros.

    Raises:
        NotFound: nothing has this name.
        BadPlan: a padding was asked for that there is not, or that this family does not have.
        BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path) as path:
        return build(padded(identify(path), padding))


@contextmanager
def located(name_or_path: str | Path) -> Iterator[Path]:
    """The file that a name stands for, or the path itself. A known name wins: `./builtin` means the path.

    Raises:
        NotFound: it is neither a known name nor a path to something.
    """
    card = card_of(str(name_or_path))
    if card is not None:
        with resources.as_file(resources.files("vaekit.checkpoints").joinpath(card.file)) as path:
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


def padded(identified: Identified, padding: str | None) -> Identified:
    """The same VAE with another padding; as it is where none is given.

    Raises:
        BadPlan: there is no such padding, or the family's nets have none to choose.
    """
    if padding is None:
        return identified
    if padding not in PADDINGS:
        raise BadPlan(
            f"There is no padding {legible(padding)!r}.",
            f"Expected one of {', '.join(PADDINGS)}.",
            "Name one of them, or none to take what the file says.",
        )
    config = identified.config
    if isinstance(config, KLConfig):
        return dataclasses.replace(identified, config=dataclasses.replace(config, padding=padding))
    if padding == ZEROS:
        return identified
    raise BadPlan(
        f"{identified.path} is a {identified.family.name!r} autoencoder, which always pads in one way.",
        "Only the convolutional autoencoders (KL and VQ) are known with padding by reflection.",
        "Leave the padding out.",
    )


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
