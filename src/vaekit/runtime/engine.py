"""The engine: a VAE run under a plan. It pads, batches and casts; it has never heard of JPEG.

Any size from 1x1 works: images are padded to the VAE's multiple at the right and bottom by repeating the edge, and
what comes back is cropped. VAEs whose latent is one vector take images of one size only, and are given no others.
The same input gives the same output; on a GPU to rounding, for sizes that keep coming are compiled (`compiled.py`).
"""

import copy
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Likelihood, Posterior
from vaekit.distributions.base import map_tensors
from vaekit.errors import BadItem, BadPlan, LatentMismatch, TooLittleMemory
from vaekit.nets.config import ImageConfig, check_takes_images, image_size
from vaekit.runtime.backends import Backend, TorchBackend
from vaekit.runtime.export import export
from vaekit.runtime.numerics import HALF
from vaekit.runtime.plan import AUTO, NCNN, Explanation, Plan
from vaekit.runtime.runner import Runner
from vaekit.runtime.streaming.arena import Arena
from vaekit.shapes import Images, Latents
from vaekit.vae import VAE, half_missing, wrong_channels

SINGLE = 4
"""Bytes of a number in fp32."""


class Engine:
    """Run a VAE on images (b, c, h, w) in [-1, 1], c being 3 for nearly all VAEs.

    The given VAE is left as it is: where the plan asks for another device or dtype, the engine keeps a converted copy.

    Args:
        vae: a VAE whose nets have a config with a `factor` (all that `vaekit.load` gives).
        plan: where and how to run.
        make_arena: device and slack -> an arena (see `Arena`) for the memory of runs in slabs.

    Raises:
        BadPlan: the plan's device is not there.
    """

    def __init__(
        self,
        vae: VAE,
        plan: Plan = Plan(),  # noqa: B008 (a frozen value)
        make_arena: Callable[[torch.device, float], Arena] = Arena,
    ) -> None:
        self.vae = vae
        self.plan = plan
        self.config: ImageConfig = image_config(vae)
        self._device = plan.torch_device
        self._running = converted(vae, self._device, plan.torch_encode_dtype, plan.torch_decode_dtype)
        sides = (
            (self._running.encoder, self._encoder_input, plan.torch_encode_dtype),
            (self._running.decoder, self._decoder_input, plan.torch_decode_dtype),
        )
        one_size = image_size(self.config) is not None
        self._encoder, self._decoder = (
            None
            if network is None
            else Runner(
                network,
                None if one_size else make_input,
                chosen_backend(plan.backend, self._device, dtype),
                plan,
                make_arena,
            )
            for network, make_input, dtype in sides
        )

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the latent of an image of this size, padding included."""
        factor, least = self.config.factor, least_positions(self.config)
        return max(least, -(-height // factor)), max(least, -(-width // factor))

    @torch.no_grad()
    def encode(self, x: Images) -> Posterior:
        """The posterior over raw latents (b, z, ceil(h/f), ceil(w/f)), on the device of `x`.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadItem: the images have another number of channels than the VAE takes, or not its only size.
            BadPlan: it takes more memory than the plan allows.
            ValueError: `x` is no batch of images.
        """
        check_images(x, self.config)
        if self._encoder is None:
            raise half_missing("encoder", "decoder")
        runner, size = self._encoder, self.latent_size(x.shape[2], x.shape[3])
        fixed = self._fixed("encode", x.shape[2], x.shape[3])
        posteriors = [
            self._running.to_posterior(runner.run(self._padded(items), size, fixed))
            for items in runner.batches(x, size, fixed)
        ]
        return map_tensors(lambda tensors: torch.cat(tensors).to(x.device), *posteriors)

    @torch.no_grad()
    def decode(self, z: Latents, size: tuple[int, int] | None = None) -> Images:
        """Raw latents -> images in fp32 on the device of `z`, not clamped.

        Args:
            z: raw latents (b, z, i, j).
            size: (height, width) to crop to; the whole padded image without it.

        Raises:
            HalfMissing: the VAE has no decoder.
            LatentMismatch: the latents have another number of channels, or more positions than a VAE of one vector.
            BadPlan: it takes more memory than the plan allows.
        """
        height, width = size or (z.shape[-2] * self.config.factor, z.shape[-1] * self.config.factor)
        fixed = self._checked(z, height, width)
        assert self._decoder is not None
        images = torch.empty((len(z), self.config.image_channels, height, width), device=z.device)
        done, fixed = 0, images[1:].nbytes + fixed
        rows, columns = (max(least_positions(self.config), side) for side in z.shape[2:])
        for items in self._decoder.batches(z, (rows, columns), fixed):
            images[done : done + len(items)] = self._decoded(items, fixed)[:, :, :height, :width]
            done += len(items)
        return images

    @torch.no_grad()
    def likelihood(self, z: Latents, size: tuple[int, int]) -> Likelihood:
        """p(x|z) over images of a size (height, width), for raw latents (b, z, i, j), on the engine's device.

        Raises:
            HalfMissing, LatentMismatch, BadPlan: as `decode` does.
        """
        fixed = self._checked(z, *size)
        assert self._decoder is not None
        rows, columns = (max(least_positions(self.config), side) for side in z.shape[2:])
        made = [self._parameters(items, fixed) for items in self._decoder.batches(z, (rows, columns), fixed)]
        return self._running.to_likelihood(torch.cat(made)[:, :, : size[0], : size[1]].float())

    def explain(self, height: int, width: int) -> tuple[Explanation, ...]:
        """How images of this size will be encoded and decoded, and the memory that will take; nothing is run.

        Raises:
            TooLittleMemory: it takes more than the plan allows; the message says how much would do for all of it.
        """
        size, plans, refusals = self.latent_size(height, width), [], []
        for half, runner in (("encode", self._encoder), ("decode", self._decoder)):
            if runner is not None:
                try:
                    plans.append(runner.explained(half, size, (height, width), self._fixed(half, height, width)))
                except TooLittleMemory as refusal:
                    refusals.append(refusal)
        if refusals:
            raise max(refusals, key=lambda refusal: refusal.least)
        return tuple(plans)

    @property
    def notes(self) -> tuple[str, ...]:
        """What encoding and decoding had to do otherwise than planned so far, in words."""
        runners = (("encoder", self._encoder), ("decoder", self._decoder))
        return tuple(note for half, runner in runners if runner is not None for note in runner.notes(half))

    def reconstruct(self, x: Images) -> Images:
        """Through the posterior's mode and back: images of the same size, in fp32, not clamped.

        Raises:
            HalfMissing, BadItem, BadPlan: as `encode` and `decode` do; before anything is run.
        """
        check_images(x, self.config)
        self.explain(x.shape[2], x.shape[3])
        return self.decode(self.encode(x).mode, (x.shape[2], x.shape[3]))

    def export(self, kind: str, folder: str | Path, half: str | None = None, verify: bool = True) -> dict[str, Path]:
        """Write the VAE as programs that run without vaekit: "onnx" or "torch.export", in fp32 whatever the plan says.

        `encoder.onnx` takes "pixels" (batch, c, f * rows, f * columns) in [-1, 1] and gives "moments", before they are
        quantized where the VAE does that; `decoder.onnx` takes raw "latents" (batch, z, rows, columns) and gives
        "pixels". See `vaekit.runtime.export` for all of it, and for the errors.

        Returns:
            The file of each half that the VAE has.
        """
        in_fp32 = converted(self.vae, torch.device("cpu"), torch.float32, torch.float32)
        return export(in_fp32, kind, folder, half, verify)

    def _fixed(self, half: str, height: int, width: int) -> int:
        """Bytes that a run for one image takes beside the network: copies of its input and its result."""
        rows, columns = (side * self.config.factor for side in self.latent_size(height, width))
        image = self.config.image_channels * rows * columns
        if half == "decode":  # what the network makes, and the result that it is cropped and cast into
            return image * (self.plan.torch_decode_dtype.itemsize + SINGLE)
        copies = ((rows, columns) != (height, width)) * SINGLE
        dtype = self.plan.torch_encode_dtype
        return image * (copies + (dtype != torch.float32) * dtype.itemsize)

    def _checked(self, z: Tensor, height: int, width: int) -> int:
        """Refuse latents that are not this VAE's; the bytes that decoding takes beside the network."""
        if z.dim() != 4:
            raise wrong_channels(z, self.config.latent_channels, self.vae.normalization, self.vae.origin)
        self.vae.check_latents(z)
        check_positions(z, self.config)
        if self._decoder is None:
            raise half_missing("decoder", "encoder")
        return self._fixed("decode", height, width)

    def _padded(self, items: Tensor) -> Tensor:
        """Images of the next size that the encoder takes, on its device and in its dtype."""
        rows, columns = self.latent_size(items.shape[2], items.shape[3])
        factor = self.config.factor
        missing = (0, columns * factor - items.shape[3], 0, rows * factor - items.shape[2])
        exact = items.to(self._device, torch.float32)
        padded = F.pad(exact, missing, mode="replicate") if any(missing) else exact
        return padded.to(self.plan.torch_encode_dtype)

    def _decoded(self, items: Tensor, fixed: int) -> Tensor:
        """The images that the decoder makes of latents."""
        return self._running.to_likelihood(self._parameters(items, fixed)).mode

    def _parameters(self, items: Tensor, fixed: int) -> Tensor:
        """What the decoder network makes of latents."""
        assert self._decoder is not None
        missing = [max(0, least_positions(self.config) - side) for side in items.shape[2:]]
        padded = F.pad(items, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else items
        given = padded.to(self._device, self.plan.torch_decode_dtype)
        return self._decoder.run(given, (given.shape[2], given.shape[3]), fixed)

    def _encoder_input(self, rows: int, columns: int) -> Tensor:
        """An image of noise for a latent of this size."""
        factor = self.config.factor
        shape = (1, self.config.image_channels, rows * factor, columns * factor)
        return noise(shape).to(self._device, self.plan.torch_encode_dtype)

    def _decoder_input(self, rows: int, columns: int) -> Tensor:
        """A latent of noise of this size."""
        shape = (1, self.config.latent_channels, rows, columns)
        return noise(shape).to(self._device, self.plan.torch_decode_dtype)


def noise(shape: tuple[int, ...]) -> Tensor:
    """Numbers that are the same whenever they are asked for."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def image_config(vae: VAE) -> ImageConfig:
    """The config of the nets of an image VAE.

    Raises:
        TypeError: its nets have none, so that nobody can tell what they take.
    """
    if vae.config is None:
        raise TypeError("the engine runs image VAEs whose nets have a `config` with channels and factor")
    return vae.config


def least_positions(config: ImageConfig) -> int:
    """Rows and columns of a latent that the nets need at least: 1, but for those that reflect at the border."""
    return getattr(config, "least_positions", 1)


def check_images(x: Tensor, config: ImageConfig) -> None:
    """Refuse what the VAE cannot take.

    Raises:
        ValueError: not a batch of images (b, c, h, w), or an empty one.
        BadItem: images of another number of channels, or of another size than the only one.
    """
    channels, side = config.image_channels, image_size(config)
    if x.dim() != 4 or x.numel() == 0:
        raise ValueError(f"images of shape (b, {channels}, h, w) expected, not {tuple(x.shape)}")
    check_takes_images(config)
    if x.shape[1] != channels:
        raise BadItem(
            f"The images have {x.shape[1]} channels.",
            f"This VAE takes images of {channels}.",
            "Use a VAE for such images, or convert them.",
        )
    if side is not None and x.shape[2:] != (side, side):
        raise BadItem(
            f"The image has {x.shape[3]}x{x.shape[2]} pixels.",
            f"This VAE takes images of {side}x{side} pixels only.",
            "Crop or resize it to that size, or use a VAE for any size.",
        )


def check_positions(z: Tensor, config: ImageConfig) -> None:
    """Refuse more than one position where the VAE says one vector of a whole image.

    Raises:
        LatentMismatch: there are more.
    """
    if image_size(config) is not None and z.shape[2:] != (1, 1):
        raise LatentMismatch(
            f"The latents have shape {list(z.shape)}.",
            f"This VAE takes (images, {config.latent_channels} channels, 1, 1).",
            "Decode with the VAE that made them.",
        )


def chosen_backend(name: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """What runs the convolutions: what was asked for, or the fastest that is there.

    Raises:
        BadPlan: ncnn was asked for, and cannot run on this device or in this dtype.
        MissingPackage: ncnn was asked for and is not installed.
    """
    fits = device.type == "cpu" and dtype == torch.float32
    if name == NCNN and not fits:
        raise BadPlan(
            f"The backend ncnn was asked for {str(dtype).removeprefix('torch.')} on {device}.",
            "It runs in fp32 on the CPU only.",
            "Leave the backend out to have one chosen.",
        )
    if name == NCNN or (name == AUTO and fits and find_spec("ncnn") is not None):
        from vaekit.runtime.ncnn_backend import NcnnBackend

        return NcnnBackend()
    return TorchBackend()


def converted(vae: VAE, device: torch.device, encode_dtype: torch.dtype, decode_dtype: torch.dtype) -> VAE:
    """The VAE with its weights on a device and its halves in their dtypes, heads in fp32; the same object where they
    are so already."""
    dtypes = {"encoder": encode_dtype, "decoder": decode_dtype}

    def wanted(name: str, tensor: Tensor) -> torch.dtype:
        return dtypes.get(name.split(".")[0], torch.float32) if tensor.is_floating_point() else tensor.dtype

    tensors = [*vae.named_parameters(), *vae.named_buffers()]
    if all(each.device == device and each.dtype == wanted(name, each) for name, each in tensors) and not vae.training:
        return vae
    # Weights are handed to deepcopy as already copied, so that they are converted once and never duplicated.
    done: dict[int, Tensor] = {}
    for name, weight in vae.named_parameters():
        check_range(name, weight, wanted(name, weight))
        done[id(weight)] = nn.Parameter(weight.detach().to(device, wanted(name, weight)), requires_grad=False)
    for name, buffer in vae.named_buffers():
        done[id(buffer)] = buffer.to(device, wanted(name, buffer))
    return copy.deepcopy(vae, done).eval()


def check_range(name: str, weight: Tensor, dtype: torch.dtype) -> None:
    """Refuse weights that a dtype cannot hold.

    Raises:
        BadPlan: that is so.
    """
    largest = weight.detach().abs().max().item() if dtype in HALF and weight.dtype not in HALF else 0.0
    if torch.finfo(torch.float32).max > largest > torch.finfo(dtype).max:
        raise BadPlan(
            f"The weights {name} reach {largest:.3g}.",
            f"{str(dtype).removeprefix('torch.')} holds numbers up to {torch.finfo(dtype).max:.3g}.",
            "Use bf16 or fp32 (--dtype).",
        )
