"""KVAE-2D: names, detector and settings. The published names are the native ones."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import WrongTensors
from vaekit.families.convolutional import RESIDUAL, kl_hidden_channels, kl_image_channels, level_widths
from vaekit.families.family import Family, Shapes, highest, refuse_obstacles
from vaekit.families.kvae import net as kvae
from vaekit.families.kvae.net import NORM_GROUPS, KVAEConfig
from vaekit.families.layout import HALVES, Layout, Rules, product
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLKVAE"
RESAMPLE = ("spatial_conv", "linear")
SPATIAL_NORM = ("norm_layer", "conv_y", "conv_b")
MARKS = tuple(f".{layer}." for layer in (*RESAMPLE, *SPATIAL_NORM))
"""Parts of keys; every half with more than one level has one of them."""
LEVELS = {"encoder": "down", "decoder": "up"}


def same(module: str, layers: tuple[str, ...]) -> Rules:
    """The rules of a module whose layers have the same names in both schemes."""
    return product(module, module, {layer: layer for layer in layers})


def spatial(*norms: str) -> tuple[str, ...]:
    """The layers of the decoder's norms."""
    return tuple(f"{norm}.{layer}" for norm in norms for layer in SPATIAL_NORM)


def names(half: str) -> Rules:
    """The rules of one half."""
    convolutions = tuple(layer for layer in RESIDUAL if not layer.startswith("norm"))
    inside = tuple(RESIDUAL) if half == "encoder" else (*convolutions, *spatial("norm1", "norm2"))
    last = ("norm_out",) if half == "encoder" else spatial("norm_out")
    level = f"{half}.{LEVELS[half]}.{{i}}"
    return (
        *same(half, ("conv_in", "conv_out", *last)),
        *(
            rule
            for module in (f"{level}.block.{{j}}", f"{half}.mid.block_1", f"{half}.mid.block_2")
            for rule in same(module, inside)
        ),
        *same(f"{level}.{LEVELS[half]}sample", RESAMPLE),
    )


def detect_kvae(shapes: Shapes) -> KVAEConfig | None:
    """The configuration of a KVAE, or of one half, which the other is assumed to mirror."""
    encoder, decoder = (level_widths(shapes, f"{half}.{level}") for half, level in LEVELS.items())
    image, latent = kl_image_channels(shapes), kl_hidden_channels(shapes, moments=2)
    if not (encoder or decoder) or not (image and latent) or not any(mark in key for key in shapes for mark in MARKS):
        return None
    if any(width % NORM_GROUPS for width in (*encoder, *decoder)):
        return None
    encoder_blocks, decoder_blocks = (
        highest(shapes, rf"{half}\.{level}\.\d+\.block\.(\d+)\.") for half, level in LEVELS.items()
    )
    return KVAEConfig(
        image_channels=image,
        latent_channels=latent,
        encoder_widths=encoder or decoder,
        decoder_widths=decoder or encoder,
        encoder_blocks=encoder_blocks or max(1, decoder_blocks - 1),
        decoder_blocks=decoder_blocks or encoder_blocks + 1,
    )


def settings(config: KVAEConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLKVAE.

    Raises:
        WrongTensors: the class cannot express the network, or a normalization, for which it has no setting.
    """
    widths = config.encoder_widths
    refuse_obstacles(
        NAME,
        {
            "different widths in encoder and decoder": widths != config.decoder_widths,
            "widths that are not multiples of the first": any(width % widths[0] for width in widths),
        },
        '"native"',
    )
    if normalization is not None:
        raise WrongTensors(
            f"diffusers' {NAME} has no setting for a normalization of latents.", "", 'Save it in the "native" layout.'
        )
    return {
        "_class_name": NAME,
        "ch_mult": [width // widths[0] for width in widths],
        "channels": widths[0],
        "double_z": True,
        "in_channels": config.image_channels,
        "num_dec_blocks": config.decoder_blocks - 1,
        "num_enc_blocks": config.encoder_blocks,
        "sample_size": 1024,
        "z_channels": config.latent_channels,
    }


NAMES = tuple(rule for half in HALVES for rule in names(half))
LAYOUTS = (Layout("diffusers", "kvae", NAMES), Layout("native", "kvae", NAMES))
FAMILY = Family(
    name="kvae",
    config=KVAEConfig,
    layouts=LAYOUTS,
    detect=detect_kvae,
    build=kvae.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)
