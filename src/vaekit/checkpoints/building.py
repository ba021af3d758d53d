"""An identified VAE -> the network with the file's own tensors in it."""

import torch
from torch import Tensor

from vaekit.checkpoints.cards import makers
from vaekit.checkpoints.families import assemble
from vaekit.checkpoints.identify import Identified
from vaekit.vae import VAE, Origin


def build(identified: Identified) -> VAE:
    """The network on the meta device, then the file's own tensors put in their places: no memory is used twice."""
    with torch.device("meta"):
        vae = assemble(identified.family, identified.config, identified.halves, identified.normalization)
    shapes = {key: tensor.shape for key, tensor in vae.state_dict().items()}
    tensors = {key: tensor.reshape(shapes[key]) for key, tensor in read_native(identified).items()}
    vae.load_state_dict(tensors, strict=True, assign=True)
    vae.origin = origin(identified)
    return vae.eval()


def origin(identified: Identified) -> Origin:
    """What messages say of the VAE that was found."""
    names = " or ".join(kind.name for kind in identified.kinds)
    family = f"{identified.family.name!r} family"
    return Origin(f"{names} ({family})" if names else f"of the {family}", makers)


def read_native(identified: Identified) -> dict[str, Tensor]:
    """The VAE's tensors under their native keys, in the file's shapes and dtype."""
    tensors: dict[str, Tensor] = {}
    for part in identified.parts:
        read = part.file.read(part.names.values())
        tensors |= {native: read[name] for native, name in part.names.items()}
    return tensors
