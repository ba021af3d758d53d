"""A name or a path -> a VAE, strictly: every tensor of the network comes from the file, or it is an error."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.identification.build import Network
from vaekit.identification.identify import identify
from vaekit.identification.resolve import resolve
from vaekit.library.names import locate_vae
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
    with locate_vae(name_or_path, models) as path:
        network = Network()
        return network.of(resolve(identify(path), kind, padding, network=network))
