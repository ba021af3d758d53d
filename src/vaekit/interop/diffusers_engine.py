"""An engine as the VAE of a diffusers pipeline: `pipe.vae = EngineVAE(engine)`.

Images of any size are encoded and decoded within the memory of the engine's plan, exactly; where half precision
overflows, the engine repeats it, so that pipelines need not run the VAE in fp32.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vaekit.checkpoints.save import family_and_config
from vaekit.distributions import Posterior
from vaekit.errors import BadItem, counted
from vaekit.interop.diffusers import DiffusersVAE, without_time
from vaekit.interop.diffusers_settings import chosen_normalization, settings_for
from vaekit.runtime.engine import Engine


class EngineVAE(DiffusersVAE):
    """diffusers' interface of a VAE that an engine runs. Latents are raw, as pipelines expect.

    Args:
        engine: runs the VAE on its own device and in its own dtype; `pipe.to(...)` does not move it.
        dtype: of the pipeline: that of latents. Images are decoded to fp32, as bf16 has fewer levels than image files.

    Raises:
        UnknownNormalization: that of the VAE is unknown.
        WrongTensors: its networks belong to no family with a file format.
    """

    def __init__(self, engine: Engine, dtype: torch.dtype) -> None:
        family, config = family_and_config(engine.vae)
        normalization = chosen_normalization(family, config, engine.vae.normalization, None, None)
        settings = settings_for(family, config, normalization) | {"force_upcast": False}
        super().__init__(engine.vae, normalization, settings)
        self.engine = engine
        self._dtype = dtype

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the pipeline."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """The device of the engine."""
        return self.engine.plan.torch_device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "EngineVAE":
        """Leave the weights to the engine: neither `pipe.to(...)` nor a change of dtype applies to them."""
        return self

    def _load_weights(self) -> None:
        """Do nothing: the engine holds the weights."""

    def _batches(self, values: Tensor) -> tuple[Tensor, ...]:
        """Images or latents as they are: the engine batches and casts them."""
        return (without_time(values),)

    def _encoded(self, x: Tensor) -> Posterior:
        return self.engine.encode(x)

    def _decoded(self, raw: Tensor) -> Tensor:
        return self.engine.decode(raw)

    def _decodable(self, raw: Tensor) -> Tensor:
        broken = raw.numel() - int(raw.isfinite().sum())
        if broken:
            raise BadItem(
                f"The latents of the diffusion model have {counted(broken, 'NaN or infinite value')}, of "
                f"{raw.numel():,}.",
                "Expected finite latents.",
                "Run the pipeline in bf16 or fp32; if it did, its weights are damaged or its scheduler does not suit.",
            )
        weights = next(self.vae.parameters())
        return super()._decodable(raw.float().to(weights.device)).to(raw.device)
