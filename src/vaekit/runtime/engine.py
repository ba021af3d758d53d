"""The engine: a VAE run under a plan. It pads, batches and casts; it has never heard of JPEG.

Any size from 1x1 works: pictures are padded to the VAE's multiple at the right and bottom by repeating the edge, and
what comes back is cropped. VAEs whose latent is one vector take pictures of one size only, and are given no others.
The same input gives the same output.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Posterior
from vaekit.distributions.base import map_tensors
from vaekit.errors import BadPicture, LatentMismatch
from vaekit.nets.config import ImageConfig, picture_size
from vaekit.runtime.export import export
from vaekit.runtime.plan import Plan
from vaekit.shapes import Images, Latents
from vaekit.vae import VAE, wrong_channels


class Engine:
    """Run a VAE on pictures (b, c, h, w) in [-1, 1], c being 3 for nearly all VAEs.

    The given VAE is left as it is: where the plan asks for another device or dtype, the engine keeps a converted copy.

    Args:
        vae: a VAE whose nets have a config with a `factor` (all that `vaekit.load` gives).
        plan: where and how to run.

    Raises:
        BadPlan: the plan's device is not there.
    """

    def __init__(self, vae: VAE, plan: Plan = Plan()) -> None:  # noqa: B008 (a frozen value)
        self.vae = vae
        self.plan = plan
        self.config: ImageConfig = image_config(vae)
        self._device, self._dtype = plan.torch_device, plan.torch_dtype
        self._running = converted(vae, self._device, self._dtype)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the latent of a picture of this size, padding included."""
        factor, least = self.config.factor, least_positions(self.config)
        return max(least, -(-height // factor)), max(least, -(-width // factor))

    @torch.no_grad()
    def encode(self, x: Images) -> Posterior:
        """The posterior over raw latents (b, z, ceil(h/f), ceil(w/f)), on the device of `x`.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadPicture: the pictures have another number of channels than the VAE takes, or not its only size.
            ValueError: `x` is no batch of pictures.
        """
        check_pictures(x, self.config)
        posteriors = [self._encode_batch(batch) for batch in x.split(self.plan.batch_size)]
        return map_tensors(lambda tensors: torch.cat(tensors).to(x.device), *posteriors)

    @torch.no_grad()
    def decode(self, z: Latents, size: tuple[int, int] | None = None) -> Images:
        """Raw latents -> pictures in fp32 on the device of `z`, not clamped.

        Args:
            z: raw latents (b, z, i, j).
            size: (height, width) to crop to; the whole padded picture without it.

        Raises:
            HalfMissing: the VAE has no decoder.
            LatentMismatch: the latents have another number of channels, or more positions than a VAE of one vector.
        """
        if z.dim() != 4:
            raise wrong_channels(z, self.config.latent_channels, self.vae.frame, self.vae.origin)
        self.vae.check_latents(z)
        check_positions(z, self.config)
        height, width = size or (z.shape[2] * self.config.factor, z.shape[3] * self.config.factor)
        batches = z.split(self.plan.batch_size)
        return torch.cat([self._decode_batch(batch)[:, :, :height, :width].to(z.device) for batch in batches])

    def reconstruct(self, x: Images) -> Images:
        """Through the posterior's mode and back: pictures of the same size, in fp32, not clamped."""
        return self.decode(self.encode(x).mode, (x.shape[2], x.shape[3]))

    def export(self, kind: str, folder: str | Path, half: str | None = None, verify: bool = True) -> dict[str, Path]:
        """Write the VAE as programs that run without vaekit: "onnx" or "torch.export", in fp32 whatever the plan says.

        `encoder.onnx` takes "pixels" (batch, c, f * rows, f * columns) in [-1, 1] and gives "moments", before they are
        quantised where the VAE does that; `decoder.onnx` takes raw "latents" (batch, z, rows, columns) and gives
        "pixels". See `vaekit.runtime.export` for all of it, and for the errors.

        Returns:
            The file of each half that the VAE has.
        """
        in_fp32 = converted(self.vae, torch.device("cpu"), torch.float32)
        return export(in_fp32, kind, folder, half, verify)

    def _encode_batch(self, x: Tensor) -> Posterior:
        rows, columns = self.latent_size(x.shape[2], x.shape[3])
        factor = self.config.factor
        padding = (0, columns * factor - x.shape[3], 0, rows * factor - x.shape[2])
        padded = F.pad(x.to(self._device, torch.float32), padding, mode="replicate")
        return self._running.encode(padded.to(self._dtype))

    def _decode_batch(self, z: Tensor) -> Tensor:
        missing = [max(0, least_positions(self.config) - side) for side in z.shape[2:]]
        padded = F.pad(z, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else z
        return self._running.decode(padded.to(self._device, self._dtype)).float()


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


def check_pictures(x: Tensor, config: ImageConfig) -> None:
    """Refuse what the VAE cannot take.

    Raises:
        ValueError: not a batch of pictures (b, c, h, w), or an empty one.
        BadPicture: pictures of another number of channels, or of another size than the only one.
    """
    channels, side = config.image_channels, picture_size(config)
    if x.dim() != 4 or x.numel() == 0:
        raise ValueError(f"pictures of shape (b, {channels}, h, w) expected, not {tuple(x.shape)}")
    if x.shape[1] != channels:
        raise BadPicture(
            f"The pictures have {x.shape[1]} channels.",
            f"This VAE takes pictures of {channels}.",
            "Use a VAE for such pictures, or convert them.",
        )
    if side is not None and x.shape[2:] != (side, side):
        raise BadPicture(
            f"The picture has {x.shape[3]}x{x.shape[2]} pixels.",
            f"This VAE takes pictures of {side}x{side} pixels only.",
            "Crop or resize it to that size, or use a VAE for any size.",
        )


def check_positions(z: Tensor, config: ImageConfig) -> None:
    """Refuse more than one position where the VAE says one vector of a whole picture.

    Raises:
        LatentMismatch: there are more.
    """
    if picture_size(config) is not None and z.shape[2:] != (1, 1):
        raise LatentMismatch(
            f"The latents have shape {list(z.shape)}.",
            f"This VAE takes (pictures, {config.latent_channels} channels, 1, 1).",
            "Decode with the VAE that made them.",
        )


def converted(vae: VAE, device: torch.device, dtype: torch.dtype) -> VAE:
    """The VAE with its weights on a device and in a dtype; the same object where they are so already."""
    tensors = list(vae.parameters()) + list(vae.buffers())
    numbers = (tensor for tensor in tensors if tensor.is_floating_point())
    if (
        all(tensor.device == device for tensor in tensors)
        and all(tensor.dtype == dtype for tensor in numbers)
        and not vae.training
    ):
        return vae
    # Weights are handed to deepcopy as already copied, so that they are converted once and never duplicated.
    done: dict[int, Tensor] = {}
    for weight in vae.parameters():
        done[id(weight)] = nn.Parameter(weight.detach().to(device, dtype), requires_grad=False)
    for buffer in vae.buffers():
        done[id(buffer)] = buffer.to(device, dtype) if buffer.is_floating_point() else buffer.to(device)
    return copy.deepcopy(vae, done).eval()
