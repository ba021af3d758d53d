"""The object that nodes of ComfyUI call a VAE, run by vaekit's engine."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit import VAE, Engine, LatentNormalization, Plan
from vaekit.errors import BadItem, TooLittleMemory
from vaekit.runtime.memory import memory_bytes
from vaekit.runtime.plan import DTYPES
from vaekit.vae import denormalize, half_missing, normalize

from . import host

GIB = 2**30
SHARE_OF_FREE = 0.9
"""The limit where none is given."""
LIMIT_STEP = 2**28
"""Such limits are rounded down to multiples of this, so that an engine is used again."""
OPAQUE = 1.0
"""The value of channels that an image lacks."""
Process = Callable[[Tensor], Tensor]


class EngineVAE:
    """A VAE for ComfyUI: VAEDecode, VAEDecodeTiled, VAEEncode, VAEEncodeTiled, VAEEncodeForInpaint and others call it.

    Images are encoded and decoded one by one within a memory limit, as a whole and exactly. Tiles are never cut, also
    where a node asks for them.

    Args:
        vae: a VAE of images.
        memory: the limit for an image in bytes, or a size such as "2GiB", without the weights; None for most of what is
            free when ComfyUI has loaded the weights.
        dtype: "fp32", "bf16" or "fp16".
        space: the normalization of the diffusion model whose latents the VAE takes, if its own raw latents are others:
            those of TAESD are normalized. None if they are the model's raw latents.

    Raises:
        BadItem: it is a VAE of other data than images.
        BadPlan: the memory or the dtype is not valid.
    """

    latent_dim = 2
    not_video = handles_tiling = crop_input = True
    disable_offload = False
    size = extra_1d_channel = audio_sample_rate = None
    downscale_index_formula = upscale_index_formula = None

    def __init__(
        self,
        vae: VAE,
        memory: int | str | None = None,
        dtype: str = "fp32",
        space: LatentNormalization | None = None,
    ) -> None:
        vae.geometry.require_axes(2, "images")
        self.memory = None if memory is None else memory_bytes(memory)
        self.dtype, self.space = dtype, space
        Plan(dtype=dtype)  # raises if there is no such dtype
        self.vae_dtype = DTYPES[dtype]
        self.working_dtypes = [self.vae_dtype]
        self.first_stage_model = vae.to(self.vae_dtype).eval()
        self.patcher = host.patcher_of(self.first_stage_model)
        self.device, self.output_device = self.patcher.load_device, host.output_device()
        geometry = vae.geometry
        self.downscale_ratio = geometry.factors[0]
        self.upscale_ratio = geometry.factors[0] * geometry.upscale
        self.output_channels = geometry.channels
        self._patch = 1 if self._own is None else self._own.patch
        self.latent_channels = geometry.latent_channels * self._patch**2
        self.downscale_ratio *= self._patch
        self.upscale_ratio *= self._patch
        self.process_input: Process = lambda images: images * 2 - 1
        self.process_output: Process = lambda images: ((images + 1) / 2).clamp(0, 1)
        self._engine: tuple[object, Engine] | None = None

    @property
    def _own(self) -> LatentNormalization | None:
        """Between raw latents and ComfyUI's, if they differ: those of FLUX.2 are normalized for it within the VAE."""
        own = self.first_stage_model.normalization
        return own if self.space is not None or (own is not None and own.patch > 1) else None

    def decode(self, samples: Tensor, vae_options: Any = None) -> Tensor:
        """Latents (b, z, h, w), or (b, z, 1, h, w), to images (b, height, width, c), or (b, 1, height, width, c), in
        [0, 1].

        Raises:
            BadItem: the latents are those of a video.
            LatentMismatch: they have another number of channels.
            TooLittleMemory: the limit is too small.
        """
        if self.first_stage_model.decoder is None:
            raise half_missing("decoder", "encoder")
        latents = self._raw(one_frame(samples).float())
        size = self.first_stage_model.geometry.size_of(latents.shape[2:])
        self.first_stage_model.check_latents(latents)

        def run(engine: Engine, latent: Tensor) -> Tensor:
            return self.process_output(engine.decode(latent)).movedim(1, -1)

        images = self._each("decode", latents, size, run)
        return images.unsqueeze(1) if samples.dim() == 5 else images

    def decode_tiled(self, samples: Tensor, *_: Any, **__: Any) -> Tensor:
        """The same as `decode`: sizes of tiles have no meaning here."""
        return self.decode(samples)

    def encode(self, pixels: Tensor) -> Tensor:
        """Images (b, height, width, c) in [0, 1] to the modes of their latents (b, z, h, w). What does not fit a
        multiple of the compression is cropped evenly at both sides, as ComfyUI does.

        Raises:
            BadItem: the images are a video, or too small.
            TooLittleMemory: the limit is too small.
        """
        if self.first_stage_model.encoder is None:
            raise half_missing("encoder", "decoder")
        images = self._in_channels(cropped(one_frame(pixels.movedim(-1, 1)), self.downscale_ratio))

        def run(engine: Engine, image: Tensor) -> Tensor:
            return self._from_raw(engine.encode(self.process_input(image)).mode.float())

        return self._each("encode", images.float(), tuple(images.shape[2:]), run)

    def encode_tiled(self, pixels: Tensor, *_: Any, **__: Any) -> Tensor:
        """The same as `encode`: sizes of tiles have no meaning here."""
        return self.encode(pixels)

    def memory_used_decode(self, shape: tuple[int, ...], dtype: torch.dtype) -> int:
        """The memory limit for decoding latents of a shape, in bytes."""
        return self.memory or GIB

    def memory_used_encode(self, shape: tuple[int, ...], dtype: torch.dtype) -> int:
        """The memory limit for encoding images of a shape, in bytes."""
        return self.memory or GIB

    def spacial_compression_decode(self) -> int:
        """Pixels per latent along an axis."""
        return self.upscale_ratio

    def spacial_compression_encode(self) -> int:
        """Pixels per latent along an axis."""
        return self.downscale_ratio

    def temporal_compression_decode(self) -> None:
        """None: items are images."""

    def throw_exception_if_invalid(self) -> None:
        """Do nothing: a VAE that is not valid was refused when it was loaded."""

    def prepare_decode(self) -> None:
        """Do nothing: weights are loaded when an image is decoded."""

    def is_dynamic(self) -> bool:
        """Whether weights are loaded in parts: they are not."""
        return False

    def model_size(self) -> int:
        """The size of the weights in bytes."""
        return sum(each.nbytes for each in self.first_stage_model.parameters())

    def get_sd(self) -> dict[str, Tensor]:
        """The weights, by vaekit's names."""
        return self.first_stage_model.state_dict()

    def _each(self, half: str, items: Tensor, size: tuple[int, ...], run: Callable[[Engine, Tensor], Tensor]) -> Tensor:
        """Run items one by one. ComfyUI can interrupt between them."""
        engine, bar = self._engine_for(half, size), host.progress_bar(len(items))
        results = []
        for item in items.split(1):
            host.check_interrupted()
            results.append(run(engine, item).to(self.output_device))
            bar.update(1)
        return torch.cat(results)

    def _engine_for(self, half: str, size: tuple[int, ...]) -> Engine:
        """An engine whose limit is sufficient, after making room on the device."""
        host.make_room(self.patcher, self.memory or GIB)
        engine = self._engine_within(self.memory or self._free())
        try:
            engine.explain(*size, only=half)
        except TooLittleMemory as error:
            if self.memory is not None:
                raise
            host.make_room(self.patcher, error.least)
            engine = self._engine_within(max(error.least, self._free()))
            engine.explain(*size, only=half)
        return engine

    def _engine_within(self, memory: int) -> Engine:
        # Weights that ComfyUI has moved are elsewhere in memory: engines prepare copies of them.
        key = (memory, next(self.first_stage_model.parameters()).data_ptr())
        if self._engine is None or self._engine[0] != key:
            plan = Plan(device=str(self.device), dtype=self.dtype, memory=memory)
            self._engine = (key, Engine(self.first_stage_model, plan))
        return self._engine[1]

    def _free(self) -> int:
        """Most of the free memory in bytes."""
        free = int(SHARE_OF_FREE * host.free_memory(self.device))
        return max(free // LIMIT_STEP * LIMIT_STEP, LIMIT_STEP)

    def _raw(self, latents: Tensor) -> Tensor:
        """ComfyUI's latents as the VAE's raw ones."""
        if self._own is None:
            return latents
        return denormalize(latents if self.space is None else normalize(latents, self.space), self._own)

    def _from_raw(self, raw: Tensor) -> Tensor:
        """The inverse."""
        if self._own is None:
            return raw
        latents = normalize(raw, self._own)
        return latents if self.space is None else denormalize(latents, self.space)

    def _in_channels(self, images: Tensor) -> Tensor:
        """Images with the number of channels that the VAE takes."""
        missing = self.output_channels - images.shape[1]
        if missing > 0:
            return F.pad(images, (0, 0, 0, 0, 0, missing), value=OPAQUE)
        return images[:, : self.output_channels]


def one_frame(items: Tensor) -> Tensor:
    """Images or latents (b, c, h, w), also if they are videos of one frame (b, c, 1, h, w).

    Raises:
        BadItem: they are videos of several frames, or something else.
    """
    if items.dim() == 5 and items.shape[2] == 1:
        return items[:, :, 0]
    if items.dim() == 4:
        return items
    found = f"{items.shape[2]} frames" if items.dim() == 5 else f"the shape {list(items.shape)}"
    raise BadItem(f"The input has {found}.", "vaekit runs VAEs of images.", "Use ComfyUI's own Load VAE for videos.")


def cropped(images: Tensor, multiple: int) -> Tensor:
    """Images (b, c, h, w) without what exceeds a multiple, half of it at each side.

    Raises:
        BadItem: nothing is left.
    """
    for axis in (2, 3):
        extent = images.shape[axis] // multiple * multiple
        if not extent:
            raise BadItem(
                f"The image has {images.shape[3]}x{images.shape[2]} pixels.",
                f"Expected at least {multiple}x{multiple} for this VAE.",
                "",
            )
        images = images.narrow(axis, (images.shape[axis] - extent) // 2, extent)
    return images
