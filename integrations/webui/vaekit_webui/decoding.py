"""Replace how the VAE of a loaded model decodes."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vaekit
from vaekit.errors import BadPlan, OutOfMemory, VaekitError
from vaekit.runtime.plan import DTYPES

log = logging.getLogger("vaekit")
Setting = Callable[[], Any]
SAMPLES = 64
"""Values of a tensor that tell whether weights were replaced."""


def decode_by_engine(model: Any, enabled: Setting, memory: Setting) -> None:
    """Replace `first_stage_model.decode` of a model, in A1111, or of its VAE object, in Forge: raw latents to images.

    Args:
        model: what the web UI passes to `on_model_loaded`.
        enabled: whether images are decoded by vaekit.
        memory: the limit for an image, such as "2GiB"; empty for the free memory.
    """
    objects = getattr(model, "forge_objects", None)
    network = model.first_stage_model if objects is None else objects.vae.first_stage_model
    if not isinstance(getattr(network, "decode", None), EngineDecode):
        network.decode = EngineDecode(network, network.decode, enabled, memory)


class EngineDecode:
    """A function of raw latents, as the network's own.

    Args:
        network: the web UI's VAE, whose weights may be replaced at any time.
        own: its decode, for when vaekit is disabled or cannot run it.
        enabled: see `decode_by_engine`.
        memory: see `decode_by_engine`.
    """

    def __init__(self, network: nn.Module, own: Callable[..., Any], enabled: Setting, memory: Setting) -> None:
        self.network, self.own, self.enabled, self.memory = network, own, enabled, memory
        self._known: tuple[object, vaekit.VAE | None] = (None, None)
        self._engine: tuple[object, vaekit.Engine] | None = None

    def __call__(self, z: Tensor, *arguments: Any, **keywords: Any) -> Any:
        """Raw latents (b, z, h, w) to images (b, 3, height, width), not clamped, in the dtype of the latents."""
        vae = self._vae() if self.enabled() and z.dim() == 4 else None
        if vae is None:
            return self.own(z, *arguments, **keywords)
        try:
            return self._engine_for(vae, z).decode(z.float()).to(z)
        except (BadPlan, OutOfMemory) as error:
            log.warning("Decoded by the web UI instead of vaekit. %s", error)
            return self.own(z, *arguments, **keywords)

    def _vae(self) -> "vaekit.VAE | None":
        """The VAE with the present weights; None if vaekit cannot run it."""
        weights = self.network.state_dict()
        key = tuple(sample(tensor) for tensor in weights.values())
        if self._known[0] != key:
            try:
                self._known = (key, loaded(weights))
            except VaekitError as error:
                log.warning("Decoded by the web UI: vaekit does not know its VAE. %s", error)
                self._known = (key, None)
        return self._known[1]

    def _engine_for(self, vae: "vaekit.VAE", z: Tensor) -> "vaekit.Engine":
        """An engine on the device of the latents, in the dtype of the weights."""
        weights = next(self.network.parameters()).dtype
        dtype = next((name for name, each in DTYPES.items() if each == weights), "fp32")
        memory = str(self.memory()).strip() or None
        key = (id(vae), z.device, dtype, memory)
        if self._engine is None or self._engine[0] != key:
            self._engine = (key, vaekit.Engine(vae, vaekit.Plan(device=str(z.device), dtype=dtype, memory=memory)))
        return self._engine[1]


def sample(tensor: Tensor) -> tuple[object, ...]:
    """Some values of a tensor, and its shape."""
    values = tensor.detach().flatten()
    return (*tensor.shape, *values[:: max(1, len(values) // SAMPLES)].tolist())


def loaded(weights: dict[str, Tensor]) -> "vaekit.VAE":
    """A VAE with these weights; vaekit identifies it by their names and shapes."""
    with tempfile.TemporaryDirectory(prefix="vaekit-") as folder:
        path = Path(folder) / "vae.safetensors"
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}, path)
        with torch.inference_mode(mode=False):
            return vaekit.load(path)
