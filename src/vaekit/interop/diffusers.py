"""A vaekit VAE in a diffusers pipeline: `pipe.vae = vaekit.as_diffusers(vae)`.

Interface: `AutoencoderKL`, `AutoencoderTiny` and `VQModel` of diffusers (models/autoencoders). Nothing is imported
from there: pipelines require methods and attributes, but no class.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from vaekit.checkpoints.save import family_and_config, save
from vaekit.distributions import DiagonalGaussian, Posterior, Quantized, StandardNormal
from vaekit.distributions.base import map_tensors
from vaekit.errors import BadItem
from vaekit.families.normalization import COUNT, EPSILON, MEAN, VARIANCE, statistics_of
from vaekit.interop.diffusers_settings import chosen_normalization, settings_for
from vaekit.interop.records import Record
from vaekit.interop.tiling import TILE, TileEngines
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


def as_diffusers(
    vae: VAE,
    *,
    normalization: LatentNormalization | None = None,
    latent_space: str | None = None,
    force_upcast: bool = True,
) -> "DiffusersVAE":
    """Wrap a VAE for a diffusers pipeline: `pipe.vae = vaekit.as_diffusers(vae)`.

    The weights are shared with `vae`, which `pipe.to(...)` therefore moves too.

    Args:
        vae: a VAE from `vaekit.load`.
        normalization: of its latents, if unknown or to override that of the VAE.
        latent_space: the name of its latent space, instead of `normalization`: "SD1", "SDXL", "FLUX.1", ...
        force_upcast: whether SDXL's pipelines run it in fp32 if it is in fp16. False only for a VAE known to
            be safe in fp16.

    Raises:
        UnknownNormalization: it is neither known nor given, or the latent space has other shapes. It is never guessed.
        WrongTensors: the networks belong to no family with a file format.
    """
    family, config = family_and_config(vae)
    chosen = chosen_normalization(family, config, vae.normalization, normalization, latent_space)
    settings = {"force_upcast": force_upcast} | settings_for(family, config, chosen)
    return DiffusersVAE(vae, chosen, settings)


class DiffusersVAE(nn.Module):
    """The result of `as_diffusers`: diffusers' interface of a VAE. Latents are raw, as pipelines expect."""

    def __init__(self, vae: VAE, normalization: LatentNormalization, settings: dict[str, Any]) -> None:
        super().__init__()
        self.vae = vae
        self.normalization = normalization
        self.config = Record(**settings)
        self.use_slicing = self.use_tiling = False
        self._tiles = TileEngines(vae, (TILE, TILE))
        statistics = statistics_of(normalization, int(settings["latent_channels"]))
        if statistics:
            self.bn = batch_norm(statistics, settings.get("batch_norm_eps", EPSILON))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next(self.vae.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.vae.parameters()).device

    @property
    def post_quant_conv(self) -> nn.Module:
        """The first layer of the decoder; SDXL's pipelines read the dtype of its weights."""
        network = self.vae.decoder if self.vae.decoder is not None else self.vae.encoder
        assert network is not None
        return getattr(network, "post_quant_conv", None) or network

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Images (b, 3, h, w) in [-1, 1] -> an object with `.latent_dist`, or `.latents` for deterministic encoders.

        A vector quantizer returns the encoder's output before quantization, like diffusers' VQModel. A video with one
        frame, (b, 3, 1, h, w), gives latents of the same form.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadItem: a video with several frames.
        """
        self._load_weights()
        posterior = map_tensors(torch.cat, *map(self._encoded, self._batches(x)))
        if isinstance(posterior, DiagonalGaussian):
            output = Record(latent_dist=LatentDist(posterior, self.dtype, film=x.dim() == 5))
        else:
            raw = posterior.continuous if isinstance(posterior, Quantized) else posterior.mean
            output = Record(latents=in_form(raw.to(self.dtype), film=x.dim() == 5))
        return output if return_dict else output.to_tuple()

    def decode(self, z: Tensor, return_dict: bool = True, generator: object = None, **_: Any) -> Any:
        """Raw latents (b, z, i, j) -> an object with `.sample`, images (b, 3, h, w), not clamped.

        Args:
            z: raw latents; those of a vector quantizer are quantized first.
            return_dict: an object with `.sample`, or a tuple of one.
            generator: ignored; decoders are deterministic.

        Raises:
            HalfMissing: the VAE has no decoder.
            LatentMismatch: the latents have another number of channels than the VAE's.
            BadItem: latents of several video frames.
        """
        self._load_weights()
        images = torch.cat([self._decoded(self._decodable(raw)) for raw in self._batches(z)])
        output = Record(sample=in_form(images, film=z.dim() == 5))
        return output if return_dict else output.to_tuple()

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: Generator | None = None,
    ) -> Any:
        """Reconstruct images, from the posterior's mode or a sample."""
        encoded = self.encode(sample)
        if "latents" in encoded:
            return self.decode(encoded.latents, return_dict)
        posterior = encoded.latent_dist
        return self.decode(posterior.sample(generator) if sample_posterior else posterior.mode(), return_dict)

    def _encoded(self, x: Tensor) -> Posterior:
        """The posterior of images."""
        return self._tiles.to_encode(x.shape[2:]).encode(x) if self.use_tiling else self.vae.encode(x)

    def _decoded(self, raw: Tensor) -> Tensor:
        """The images of raw latents."""
        images = self._tiles.to_decode(raw.shape[2:]).decode(raw) if self.use_tiling else self.vae.decode(raw)
        return images.to(self.dtype)

    def _batches(self, values: Tensor) -> tuple[Tensor, ...]:
        """Images or latents in the weights' dtype, in one batch or one by one."""
        still = without_time(values).to(self.dtype)
        return still.split(1) if self.use_slicing else (still,)

    def _decodable(self, raw: Tensor) -> Tensor:
        self.vae.check_latents(raw)
        quantizer = self.vae.to_posterior
        return quantizer(raw).mean if isinstance(quantizer, VectorQuantizer) else raw

    def enable_tiling(
        self, tile_sample_min_height: int | None = None, tile_sample_min_width: int | None = None, **_: Any
    ) -> None:
        """Limit the memory for networks to about what they take for a tile, or to the least that is sufficient.

        Images are not cut into tiles, whose seams are visible: they are streamed through the networks, with the same
        result as without a limit. Gradients are not computed.

        Args:
            tile_sample_min_height: of the tile in pixels; 512 by default.
            tile_sample_min_width: the same.
            **_: strides and overlaps of tiles, which have no meaning here.
        """
        self.use_tiling = True
        self._tiles = TileEngines(self.vae, (tile_sample_min_height or TILE, tile_sample_min_width or TILE))

    def disable_tiling(self) -> None:
        """Run networks without a limit of memory."""
        self.use_tiling = False

    def enable_slicing(self) -> None:
        """Process the images of a batch one by one: less memory, same result."""
        self.use_slicing = True

    def disable_slicing(self) -> None:
        """Process the images of a batch together."""
        self.use_slicing = False

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:
        """Write a diffusers folder, which diffusers opens without vaekit.

        `pipe.save_pretrained(folder)` leaves out classes that diffusers does not know, with a warning: call this
        after it, as `pipe.vae.save_pretrained(folder / "vae")`, and pass the VAE when loading the pipeline.

        Raises:
            WrongTensors: diffusers has no class for this VAE.
            CannotWrite: the folder is not empty, or the disk is full.
        """
        vae = copy.copy(self.vae)
        vae.normalization = self.normalization
        save(vae, save_directory, "diffusers")

    def _load_weights(self) -> None:
        """Let accelerate move the weights to the device after `pipe.enable_model_cpu_offload()`."""
        hook = getattr(self, "_hf_hook", None)
        if hook is not None and hasattr(hook, "pre_forward"):
            hook.pre_forward(self)

    def __getattr__(self, name: str) -> Any:
        """Access a module or tensor, else an entry of the config, like diffusers' models."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            config = self.__dict__.get("config", {})
            if name in config:
                return config[name]
            raise


class LatentDist:
    """A Gaussian posterior over raw latents as diffusers' DiagonalGaussianDistribution, in the weights' dtype."""

    def __init__(self, posterior: DiagonalGaussian, dtype: torch.dtype, film: bool = False) -> None:
        self._posterior = posterior
        self._dtype = dtype
        self._film = film
        self.mean = self._in_form(posterior.mean)
        self.logvar = self._in_form(posterior.log_variance)
        self.std = self._in_form(posterior.std)
        self.var = self._in_form(posterior.log_variance.exp())

    def sample(self, generator: Generator | list[Generator] | None = None) -> Tensor:
        """Draw raw latents; from a list of generators, one image with each."""
        if isinstance(generator, list):
            mean, log_variance = self._posterior.mean.split(1), self._posterior.log_variance.split(1)
            each = zip(mean, log_variance, generator, strict=True)
            drawn = torch.cat([DiagonalGaussian(m, v).sample(one) for m, v, one in each])
        else:
            drawn = self._posterior.sample(generator)
        return self._in_form(drawn)

    def mode(self) -> Tensor:
        """The most probable raw latents."""
        return self.mean

    def kl(self) -> Tensor:
        """KL to the standard normal in nats, (b,)."""
        return self._posterior.kl(StandardNormal())

    def _in_form(self, values: Tensor) -> Tensor:
        return in_form(values.to(self._dtype), self._film)


def batch_norm(statistics: Mapping[str, Tensor], epsilon: float) -> nn.BatchNorm2d:
    """The statistics at the attribute that FLUX.2's pipelines read."""
    norm = nn.BatchNorm2d(len(statistics[MEAN]), eps=epsilon, affine=False).eval()
    names = {MEAN: "running_mean", VARIANCE: "running_var", COUNT: "num_batches_tracked"}
    norm.load_state_dict({names[key]: tensor for key, tensor in statistics.items()})
    return norm


def without_time(values: Tensor) -> Tensor:
    """(b, c, 1, h, w) -> (b, c, h, w): pipelines of video models pass images as videos with one frame.

    Raises:
        BadItem: there are several frames.
    """
    if values.dim() != 5:
        return values
    if values.shape[2] != 1:
        raise BadItem(
            f"This is a video with {values.shape[2]} frames, of shape {list(values.shape)}.",
            "Expected images, or videos with one frame: (b, channels, 1, rows, columns).",
            "Pass one frame at a time.",
        )
    return values.squeeze(2)


def in_form(values: Tensor, film: bool) -> Tensor:
    """Undo `without_time`."""
    return values.unsqueeze(2) if film else values
