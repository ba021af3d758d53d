"""Run a VAE on images and record what the checks need.

Everything runs on the CPU, so that results are reproducible. Images are small: a full-size VAE
takes a minute on two cores.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions import Posterior
from vaekit.distributions.base import map_tensors
from vaekit.doctor.activations import Activity, Call, run_watched
from vaekit.doctor.sounds import built_in_sounds, extreme_sounds, sound_length
from vaekit.geometry import Geometry
from vaekit.identification.probe_latents import probe_inputs
from vaekit.metrics.image.psnr import decibels
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.shapes import Images, Latents
from vaekit.testcards.channels import in_channels
from vaekit.testcards.color import COLORS, flat_colors
from vaekit.testcards.dead_leaves import dead_leaves, one_over_f
from vaekit.vae import VAE, at_item_size

SIDE = 128
"""Side of the images in pixels; larger if it would be less than `POSITIONS` latent positions."""
POSITIONS = 4
IMAGES, DECODED, SAMPLES = 8, 4, 32
"""The number of built-in images to encode; the number of these to decode; the number of samples for a VAE without other
images."""
SEED = 0
FLATS = COLORS[1::2]
"""Light gray, red and blue-green: half of the colors, in half of the time."""
EXTREMES = ((1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, 1.0))
"""White, black, red and cyan at the ends of the range, side by side in one image: they cause larger activations than
photographs do."""


@dataclass(frozen=True, eq=False)
class Observation:
    """A VAE with its latents and reconstructions of images. Results of a missing half are None."""

    vae: VAE
    """On the CPU, in fp32 and in evaluation mode."""
    engine: Engine
    images: Tensor | None
    """(n, c, h, w), of sounds (n, c, t), in [-1, 1]: the encoded items, or samples from this VAE's prior."""
    source: str
    """The origin of the items; a phrase."""
    posterior: Posterior | None
    """The posterior of the items."""
    latents: Tensor
    """Raw, (n, z, i, j), of sounds (n, z, i): the posterior's mode; synthetic if there is no encoder."""
    decoded: Tensor | None
    """(m, c, h, w), of sounds (m, c, t): the decoded first m latents, not clamped."""
    flats: Tensor | None
    """(k, c, h, w): images of one color each."""
    flats_decoded: Tensor | None
    """The flat images after a round trip."""
    encoding: dict[Call, Activity]
    """Statistics of the encoder's activations; empty if there is no encoder."""
    decoding: dict[Call, Activity]

    @property
    def geometry(self) -> Geometry:
        return self.engine.geometry

    @property
    def one_size(self) -> bool:
        """Whether the latent is one vector of a whole image."""
        return self.geometry.size is not None

    @property
    def of_sounds(self) -> bool:
        """Whether the items are waveforms."""
        return self.geometry.axes == 1

    @property
    def quantizes(self) -> bool:
        return isinstance(self.vae.to_posterior, VectorQuantizer)

    def decode(self, z: Latents) -> Images:
        """Images of raw latents, which a vector quantizer first takes to its nearest codes."""
        decoded = self.engine.decode(self.vae.to_posterior(z).mode if self.quantizes else z)
        return at_item_size(decoded, self.geometry)

    @property
    def finite(self) -> bool:
        """Whether all activations, latents and outputs are finite."""
        return all(each.finite for half in (self.encoding, self.decoding) for each in half.values())


@torch.no_grad()
def observe(vae: VAE, images: Tensor | None = None, side: int = SIDE) -> Observation:
    """Run a VAE of images or of sounds and record its behavior; the given VAE is not modified.

    Args:
        vae: any image VAE, whole or half.
        images: the user's, (n, 3, h, w) in [-1, 1], square, with the side that `image_side` returns, or sounds
            (n, c, t) with the samples that `sound_length` returns; used in addition to the built-in ones. A VAE with a
            vector latent is specialized to a narrow class of images and does not get the built-in ones: without the
            user's images it is checked on samples from its own prior.
        side: of the built-in images, in pixels, rounded up to a valid size.
    """
    exact = probe_inputs(vae)
    engine = Engine(exact, Plan(device="cpu"))
    geometry = engine.geometry
    if geometry.axes == 1:
        return _observe_sounds(exact, engine, images)
    side = image_side(geometry, side)
    generator = Generator().manual_seed(SEED)
    own = None if images is None else in_channels(images, geometry.channels)
    if exact.encoder is None:
        return _decoder_alone(exact, engine, _synthetic_maps(geometry, side, generator))
    if geometry.size is None:
        inputs = in_channels(dead_leaves(IMAGES, (side, side), Generator().manual_seed(SEED)), geometry.channels)
        source = f"{IMAGES} built-in images"
        if own is not None:
            inputs, source = torch.cat([own, inputs]), f"{len(own)} of your images and {source}"
    elif own is not None:
        inputs, source = own, f"{len(own)} of your images"
    else:
        inputs, source = _samples(exact, side, generator)
    flats = in_channels(flat_colors((side, side), FLATS), geometry.channels)
    stripes = torch.cat([*flat_colors((side, -(-side // len(EXTREMES))), EXTREMES)], 2)
    extremes = in_channels(stripes[None, :, :, :side], geometry.channels)
    everything = torch.cat([inputs, flats, extremes])
    moments, encoding = run_watched(exact.encoder, "encoder", everything)
    posterior = exact.to_posterior(moments)
    latents = posterior.mode
    decoded = flats_decoded = None
    decoding: dict[Call, Activity] = {}
    if exact.decoder is not None:
        # A few of the built-in images, which come last, are sufficient.
        count = len(inputs) - (IMAGES - DECODED if geometry.size is None else 0)
        parameters, decoding = run_watched(
            exact.decoder, "decoder", torch.cat([latents[:count], latents[len(inputs) :]])
        )
        outputs = at_item_size(exact.to_likelihood(parameters).mode, exact.geometry)
        decoded, flats_decoded = outputs[:count], outputs[count : count + len(flats)]
    return Observation(
        vae=exact,
        engine=engine,
        images=inputs,
        source=source,
        posterior=map_tensors(lambda tensors: tensors[0][: len(inputs)], posterior),
        latents=latents[: len(inputs)],
        decoded=decoded,
        flats=flats,
        flats_decoded=flats_decoded,
        encoding=encoding,
        decoding=decoding,
    )


def _observe_sounds(vae: VAE, engine: Engine, own: Tensor | None) -> Observation:
    """Observe a VAE of waveforms on built-in sounds, and on the user's (n, c, t) in the length `sound_length`."""
    geometry, generator = engine.geometry, Generator().manual_seed(SEED)
    samples = sound_length(geometry)
    if vae.encoder is None:
        shape = (DECODED, geometry.latent_channels, samples // geometry.factors[0])
        return _decoder_alone(vae, engine, torch.randn(shape, generator=generator))
    inputs, source = built_in_sounds(IMAGES, geometry.channels, samples, generator), f"{IMAGES} built-in sounds"
    if own is not None:
        inputs, source = torch.cat([own, inputs]), f"{len(own)} of your sounds and {source}"
    extremes = extreme_sounds(geometry.channels, samples, generator)
    moments, encoding = run_watched(vae.encoder, "encoder", torch.cat([inputs, extremes]))
    every = vae.to_posterior(moments)
    posterior, latents = map_tensors(lambda tensors: tensors[0][: len(inputs)], every), every.mode
    decoded: Tensor | None = None
    decoding: dict[Call, Activity] = {}
    if vae.decoder is not None:
        run = torch.cat([latents[:DECODED], latents[len(inputs) :]])
        parameters, decoding = run_watched(vae.decoder, "decoder", run)
        decoded = vae.to_likelihood(parameters).mode[:DECODED]
    heard = (inputs, source, posterior, latents[: len(inputs)], decoded)
    return Observation(vae, engine, *heard, None, None, encoding, decoding)


def _synthetic_maps(geometry: Geometry, side: int, generator: Generator) -> Tensor:
    """Latents (n, z, i, j) of 1/f noise, the spectrum that those of images have; of white noise for one position."""
    positions = side // geometry.factors[0]
    noise = torch.randn(DECODED, geometry.latent_channels, positions, positions, generator=generator)
    if positions == 1:
        return noise
    maps = [one_over_f((positions, positions), generator) for _ in range(DECODED * geometry.latent_channels)]
    return torch.stack(maps).view_as(noise)


def _decoder_alone(vae: VAE, engine: Engine, latents: Tensor) -> Observation:
    """Observe a decoder alone on synthetic latents, which are denormalized first."""
    assert vae.decoder is not None
    if vae.normalization is not None and vae.normalization.patch == 1:
        latents = vae.denormalize(latents)
    if isinstance(vae.to_posterior, VectorQuantizer):
        latents = vae.to_posterior(latents).mode
    parameters, decoding = run_watched(vae.decoder, "decoder", latents)
    decoded = at_item_size(vae.to_likelihood(parameters).mode, engine.geometry)
    source = f"{len(latents)} synthetic latents, as there is no encoder"
    return Observation(vae, engine, None, source, None, latents, decoded, None, None, {}, decoding)


def _samples(vae: VAE, side: int, generator: Generator) -> tuple[Tensor, str]:
    """Samples of a VAE with a fixed image size, and their description; dead leaves if it has no decoder."""
    assert vae.encoder is not None
    geometry = vae.geometry
    leaves = in_channels(dead_leaves(SAMPLES, (side, side), Generator().manual_seed(SEED)), geometry.channels)
    if vae.decoder is None:
        return leaves, f"{SAMPLES} built-in images"
    # With noise as the encoder's output, the posterior mode is a sample from the prior, also for categorical variables.
    moments = torch.randn(SAMPLES, *vae.encoder(leaves[:1]).shape[1:], generator=generator)
    return vae.decode(vae.to_posterior(moments).mode), f"{SAMPLES} samples from its own prior"


def image_side(geometry: Geometry, side: int = SIDE) -> int:
    """The side of the test images in pixels: close to `side`, and valid for the networks.

    Raises:
        BadItem: the VAE is not an image VAE.
    """
    geometry.require_axes(2, "images")
    factor = geometry.factors[0]
    return geometry.size[0] if geometry.size is not None else factor * max(POSITIONS, math.ceil(side / factor))


def pooled_psnr(x: Tensor, y: Tensor) -> float:
    """PSNR in dB over a whole set of images in [-1, 1], with any number of channels; images are clamped first.

    `vaekit.metrics.image.psnr` is per image and does not clamp.
    """
    return decibels((x.clamp(-1, 1) - y.clamp(-1, 1)).double().square().mean()).item()
