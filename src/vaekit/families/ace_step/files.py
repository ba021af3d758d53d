"""ACE-Step 1's autoencoder of music: names, detector and settings.

The vocoder is in the folder `music_vocoder` beside the autoencoder's, or in the same file in ComfyUI's checkpoint.
"""

import dataclasses
from typing import Any

from vaekit.audio_format import AudioFormat
from vaekit.distributions import Laplace, Point
from vaekit.errors import WrongTensors
from vaekit.families.ace_step import net as ace_step
from vaekit.families.ace_step.net import RATE, ACEStepConfig
from vaekit.families.dcae.files import DCAE, MATRICES, dcae_settings
from vaekit.families.dcae.files import with_stated_fields as with_stated_dcae
from vaekit.families.dcae.shapes import detect_audio_or_images, is_of_music
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest, no_prior
from vaekit.families.layout import HALVES, Layout, Rules, same_names
from vaekit.families.vocoders import PREFIX, SILU, detect_vocoder, no_vocoder, vocoder_rules, with_stated_vocoder
from vaekit.normalization import LatentNormalization

VOCODER_NAME = "ADaMoSHiFiGANV1"
NORMALIZATION = LatentNormalization((-1.9091,), (0.1786,))
"""Of ACE-Step's code; the scaling factor in its config.json is that of another model."""
HEAD = {
    "conv_in": "conv_pre",
    "upsamplers.{i}": "ups.{i}",
    "resnets.{i}": "resblocks.{i}",
    "conv_out": "conv_post",
}
BACKBONE = (
    *(f"channel_layers.{{i}}.{n}.{{p}}" for n in (0, 1)),
    *(f"stages.{{i}}.{{j}}.{layer}.{{p}}" for layer in ("dwconv", "norm", "pwconv1", "pwconv2")),
    "stages.{i}.{j}.gamma",
    "norm.{p}",
)


def inside(prefix: str) -> Rules:
    """The rules of the autoencoder, whose names in files have a prefix."""
    return tuple(
        (native.replace(f"{half}.", f"{half}.net.", 1), prefix + foreign)
        for native, foreign in DCAE
        for half in HALVES
        if native.startswith(f"{half}.")
    )


BEHIND: Rules = (
    *((f"{PREFIX}backbone.{name}", f"vocoder.backbone.{name}") for name in BACKBONE),
    *vocoder_rules(f"{PREFIX}head.", {own: f"vocoder.head.{foreign}" for own, foreign in HEAD.items()}),
)


def detect_ace_step(shapes: Shapes) -> ACEStepConfig | None:
    """The configuration of such an autoencoder, or of one half, which the other is assumed to mirror."""
    own = {key.replace(".net.", ".", 1): shape for key, shape in shapes.items() if ".net." in key}
    config = detect_audio_or_images(own) if own else None
    if config is None:
        return None
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if not any(key.startswith(PREFIX) for key in shapes):
        return ACEStepConfig(**fields) if is_of_music(config) else None
    vocoder = detect_vocoder(shapes, f"{PREFIX}head.")
    stages = range(highest(shapes, rf"{PREFIX}backbone\.stages\.(\d+)\."))
    firsts = [first_shape(shapes, f"{PREFIX}backbone.stages.{i}.0.norm.weight") for i in stages]
    first = first_shape(shapes, f"{PREFIX}backbone.channel_layers.0.0.weight")
    if vocoder is None or not firsts or None in firsts or first is None or len(first) != 3:
        return None
    if vocoder.out_channels != 1 or first[1] % 2 ** (len(config.encoder_widths) - 1):
        return None
    return ACEStepConfig(
        **fields,
        bins=first[1],
        vocoder=dataclasses.replace(vocoder, activation=SILU),
        backbone_widths=tuple(shape[0] for shape in firsts if shape),
        backbone_blocks=tuple(highest(shapes, rf"{PREFIX}backbone\.stages\.{i}\.(\d+)\.") for i in stages),
    )


def with_stated_fields(config: ACEStepConfig, metadata: Fields, settings: Fields) -> ACEStepConfig:
    """Add what weights do not determine, if the file or the vocoder's config.json states it.

    Raises:
        UnknownVAE: no such network can exist.
    """
    stated = with_stated_dcae(config, metadata, settings)
    if stated.vocoder is None:
        return stated
    entries = (settings.get("vocoder"), metadata.get("vocoder"))
    around, own = (each if isinstance(each, dict) else {} for each in entries)
    return dataclasses.replace(stated, vocoder=with_stated_vocoder(stated.vocoder, around | own))


def settings(config: ACEStepConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderDC, with that of the vocoder as one more entry.

    Raises:
        WrongTensors: the normalization is another one than ACE-Step's, which is in its code.
    """
    channels = config.geometry.latent_channels
    if normalization is not None and not normalization.is_close(NORMALIZATION, channels=channels):
        raise WrongTensors(
            "ACE-Step's code has the normalization of its latents, and this VAE has another one.",
            f"Expected {NORMALIZATION}.",
            'Save it in the "native" layout.',
        )
    vocoder = config.vocoder
    if vocoder is None:
        return dcae_settings(config)
    return dcae_settings(config) | {
        "vocoder": {
            "_class_name": VOCODER_NAME,
            "depths": list(config.backbone_blocks),
            "dims": list(config.backbone_widths),
            "hop_length": vocoder.hop,
            "input_channels": config.bins,
            "n_mels": config.bins,
            "num_mels": vocoder.in_channels,
            "resblock_dilation_sizes": [list(row) for row in vocoder.dilations],
            "resblock_kernel_sizes": list(vocoder.kernels),
            "sampling_rate": RATE,
            "upsample_initial_channel": vocoder.hidden_channels,
            "upsample_kernel_sizes": list(vocoder.upsample_kernels),
            "upsample_rates": list(vocoder.upsample_factors),
        }
    }


def stated_nowhere(_: Fields) -> None:
    """The normalization in a config.json, which holds a factor that ACE-Step does not use."""


NAMES = (*inside(""), *BEHIND)
LAYOUTS = (
    Layout("native", "ace-step", same_names(NAMES), beside=(PREFIX,)),
    Layout("diffusers", "ace-step", NAMES, matrices=MATRICES, beside=("vocoder.",)),
    Layout("original", "ace-step", (*inside("dcae."), *BEHIND), matrices=MATRICES, beside=("vocoder.",)),
)
FAMILY = Family(
    name="ace-step",
    config=ACEStepConfig,
    layouts=LAYOUTS,
    detect=detect_ace_step,
    build=ace_step.build,
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Laplace,
    prior_head=no_prior,
    complete=with_stated_fields,
    diffusers=settings,
    audio=lambda config: AudioFormat(RATE, config.image_channels),
    limits=lambda config: no_vocoder(config.vocoder is not None, VOCODER_NAME),
    normalization_from_settings=stated_nowhere,
)
