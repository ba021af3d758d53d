"""Build the network of an identified VAE from the file's tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaekit.catalog.entries import model_names
from vaekit.families import Config, assemble
from vaekit.identification.identify import Identified
from vaekit.identification.metadata import read_domain
from vaekit.identification.mismatches import absent_heads
from vaekit.identification.weight_dtypes import common_dtype
from vaekit.vae import VAE, Origin


def build(identified: Identified) -> VAE:
    """The network with the file's tensors, which are memory-mapped where they have the dtype of the network."""
    return assembled(identified, read_native(identified))


class Network:
    """The network of one file, built on first use and cached."""

    def __init__(self) -> None:
        self._vae: VAE | None = None
        self._config: Config | None = None

    def of(self, identified: Identified) -> VAE:
        """The network for an identification; its tensors are those of the first call.

        Args:
            identified: always of the same file. Normalization, latent space and config may change as long as
                the tensors have the same names and shapes.
        """
        if self._vae is None:
            self._vae = build(identified)
        elif self._config != identified.config:
            self._vae = assembled(identified, self._vae.state_dict())
        self._config = identified.config
        self._vae.normalization, self._vae.origin = identified.normalization, origin(identified)
        return self._vae


def assembled(identified: Identified, tensors: Mapping[str, Tensor]) -> VAE:
    """Build the network on the meta device and assign these tensors by native keys.

    All weights get one dtype; see `common_dtype`. Tensors that have it are not copied.
    """
    with torch.device("meta"):
        vae = assemble(identified.family, identified.config, identified.halves, identified.normalization)
    for name in absent_heads(identified.family, tensors):
        head = getattr(vae, name)
        if isinstance(head, nn.Module) and head.state_dict():
            setattr(vae, name, None)
    shapes = {key: tensor.shape for key, tensor in vae.state_dict().items()}
    dtype = common_dtype(tensor.dtype for tensor in tensors.values())
    shaped = {
        key: (tensor.to(dtype) if tensor.is_floating_point() else tensor).reshape(shapes[key])
        for key, tensor in tensors.items()
    }
    vae.load_state_dict(shaped, strict=True, assign=True)
    vae.origin = origin(identified)
    return vae.eval()


def origin(identified: Identified) -> Origin:
    """The origin of the VAE, for messages and metadata."""
    names = " or ".join(space.name for space in identified.latent_spaces)
    family = f"{identified.family.name!r} family"
    domain, schema = read_domain(identified.parts[0].file.metadata if identified.parts else {})
    name, note = f"{names} ({family})" if names else f"of the {family}", identified.note
    return Origin(name, model_names, domain, schema, note)


def read_native(identified: Identified) -> dict[str, Tensor]:
    """The VAE's tensors under their native keys, in the file's shapes and dtype."""
    tensors: dict[str, Tensor] = {}
    for part in identified.parts:
        read = part.file.read(part.names.values())
        tensors |= {native: read[name] for native, name in part.names.items()}
    return tensors
