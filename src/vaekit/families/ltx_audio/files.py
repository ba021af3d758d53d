"""LTX-2's audio autoencoder: names, detector and settings. The normalization is beside the weights.

The vocoder is in the same file in the authors' layout, and in the folder `vocoder` in diffusers'.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vaekit.audio_format import AudioFormat
from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.convolutional import level_widths
from vaekit.families.family import Family, Fields, Shapes, conv_shape, first_shape, highest, refuse_obstacles
from vaekit.families.layout import Layout, Rules, leaves, same_names
from vaekit.families.ltx_audio import net as ltx_audio
from vaekit.families.ltx_audio.net import FACTOR, ExtensionConfig, LTXAudioConfig
from vaekit.families.normalization import LATENTS_MEAN, LATENTS_STD, MEAN_AND_STD
from vaekit.families.vocoders import (
    PREFIX,
    VocoderConfig,
    detect_vocoder,
    no_vocoder,
    vocoder_rules,
    vocoder_settings,
    with_stated_vocoder,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLLTX2Audio"
BASES = ("mel_stft.stft_fn.forward_basis", "mel_stft.stft_fn.inverse_basis", "mel_stft.mel_basis")
STAGES = ("", "vocoder.", "bwe_generator.")
"""The starts of the names of a vocoder alone, and of the two with a bandwidth extension."""
BLOCK = {f"{layer}.conv.{{p}}": f"{layer}.conv.{{p}}" for layer in ("conv1", "conv2", "nin_shortcut")}
VOCODER = {part: part for part in ("conv_in", "upsamplers.{i}", "resnets.{i}", "act_out", "conv_out")}
VOCODER |= {"downsample.filter": "downsample.filter"}
ORIGINAL_VOCODER = {
    "conv_in": "conv_pre",
    "upsamplers.{i}": "ups.{i}",
    "resnets.{i}": "resblocks.{i}",
    "act_out": "act_post",
    "conv_out": "conv_post",
    "downsample.filter": "downsample.lowpass.filter",
}
NETS = tuple(
    rule
    for half, levels, change in (("encoder", "down", "downsample.conv"), ("decoder", "up", "upsample.conv.conv"))
    for rule in (
        *leaves(half, half, {f"{end}.conv.{{p}}": f"{end}.conv.{{p}}" for end in ("conv_in", "conv_out")}),
        *leaves(f"{half}.{levels}.{{i}}.block.{{j}}", f"{half}.{levels}.{{i}}.block.{{j}}", BLOCK),
        *leaves(f"{half}.{levels}.{{i}}", f"{half}.{levels}.{{i}}", {f"{change}.{{p}}": f"{change}.{{p}}"}),
        *(rule for n in (1, 2) for rule in leaves(f"{half}.mid.block_{n}", f"{half}.mid.block_{n}", BLOCK)),
    )
)


def behind(names: Mapping[str, str]) -> Rules:
    """The rules of the vocoder, with the names of its parts."""
    return (
        *(
            rule
            for stage in STAGES
            for rule in vocoder_rules(
                PREFIX + stage,
                {own: part if "filter" in own else f"vocoder.{stage}{part}" for own, part in names.items()},
            )
        ),
        *((PREFIX + base, f"vocoder.{base}") for base in BASES),
    )


DIFFUSERS = (*NETS, (LATENTS_MEAN, LATENTS_MEAN), (LATENTS_STD, LATENTS_STD), *behind(VOCODER))
ORIGINAL = (
    *((native, f"audio_vae.{foreign}") for native, foreign in NETS),
    (LATENTS_MEAN, "audio_vae.per_channel_statistics.mean-of-means"),
    (LATENTS_STD, "audio_vae.per_channel_statistics.std-of-means"),
    *behind(ORIGINAL_VOCODER),
)
UNUSED = tuple(f"audio_vae.per_channel_statistics.{name}" for name in ("channel", "mean-of-stds"))


def detect_ltx_audio(shapes: Shapes) -> LTXAudioConfig | None:
    """The configuration of such an autoencoder, or of one half, which the other is assumed to mirror."""
    first, last = conv_shape(shapes, "encoder.conv_in.conv.weight"), conv_shape(shapes, "decoder.conv_out.conv.weight")
    inner, outer = conv_shape(shapes, "decoder.conv_in.conv.weight"), conv_shape(shapes, "encoder.conv_out.conv.weight")
    widths = level_widths(without_inner(shapes), "encoder.down") or level_widths(without_inner(shapes), "decoder.up")
    audio = first[1] if first else last[0] if last else 0
    channels = inner[1] if inner else outer[0] // 2 if outer else 0
    if len(widths) != 3 or not (audio and channels) or any(".norm1." in key for key in shapes):
        return None
    blocks = highest(shapes, r"encoder\.down\.\d+\.block\.(\d+)\.")
    fields: dict[str, Any] = {
        "audio_channels": audio,
        "channels": channels,
        "widths": widths,
        "encoder_blocks": blocks or max(1, highest(shapes, r"decoder\.up\.\d+\.block\.(\d+)\.") - 1),
    }
    if any(key.startswith(PREFIX) for key in shapes):
        extended = detect_vocoder(shapes, f"{PREFIX}vocoder.")
        vocoder = extended or detect_vocoder(shapes)
        extension = detect_extension(shapes) if extended else None
        if vocoder is None or (extended and extension is None) or vocoder.in_channels % (audio * FACTOR):
            return None
        fields |= {"vocoder": vocoder, "extension": extension, "bins": vocoder.in_channels // audio}
    return LTXAudioConfig(**fields)


def without_inner(shapes: Shapes) -> Shapes:
    """The shapes by names without the convolutions' module that pads."""
    return {key.replace(".conv.weight", ".weight"): shape for key, shape in shapes.items()}


def detect_extension(shapes: Shapes) -> ExtensionConfig | None:
    """The configuration of a bandwidth extension. Its hop is that of the published one."""
    generator = detect_vocoder(shapes, f"{PREFIX}bwe_generator.")
    basis, filters = (first_shape(shapes, PREFIX + key) for key in (BASES[0], BASES[2]))
    if generator is None or basis is None or filters is None or len(basis) != 3 or len(filters) != 2:
        return None
    return ExtensionConfig(generator, basis[2], PUBLISHED_HOP, filters[0])


PUBLISHED_HOP = 80


def with_stated_fields(config: LTXAudioConfig, metadata: Fields, settings: Fields) -> LTXAudioConfig:
    """Add what weights do not determine, if the file or the vocoder's config.json states it.

    Raises:
        UnknownVAE: no such network can exist, or it is of another kind than the published ones.
    """
    if settings.get("norm_type", "pixel") != "pixel" or settings.get("causality_axis", "height") != "height":
        raise UnknownVAE(
            "The config.json states another norm than by position, or convolutions that are causal along another axis "
            "than time.",
            'Expected norm_type "pixel" and causality_axis "height", as in the published autoencoders.',
            "Run it with diffusers.",
        )
    changes: dict[str, Any] = {}
    for name, stated in (("bins", "mel_bins"), ("rate", "sample_rate"), ("hop", "mel_hop_length")):
        value = metadata.get(name, settings.get(stated))
        if type(value) is int and value > 0 and not (name == "bins" and config.vocoder):
            changes[name] = value
    vocoder, extension = config.vocoder, config.extension
    own, extended = metadata.get("vocoder"), metadata.get("extension")
    around = settings.get("vocoder")
    own, extended, around = (each if isinstance(each, dict) else {} for each in (own, extended, around))
    if vocoder is not None:
        vocoder = with_stated_vocoder(vocoder, around | own)
    if extension is not None:
        inside = extended.get("vocoder")
        generator = with_stated_vocoder(extension.vocoder, around, "bwe_")
        generator = with_stated_vocoder(generator, inside) if isinstance(inside, dict) else generator
        hop = extended.get("hop", around.get("hop_length"))
        hop = hop if type(hop) is int and hop > 0 else extension.hop
        extension = dataclasses.replace(extension, vocoder=generator, hop=hop)
    changed = dataclasses.replace(config, **changes, vocoder=vocoder, extension=extension)
    if changed.bins % FACTOR or not has_whole_rate(changed):
        raise UnknownVAE(
            f"The config states {changed.bins} bins, and {changed.samples} decoded samples for {changed.hop} at "
            f"{changed.rate} Hz.",
            f"Expected a multiple of {FACTOR} bins, and whole numbers of Hz and of samples.",
            "Download the autoencoder and its vocoder again, with both config.json.",
        )
    return changed


def has_whole_rate(config: LTXAudioConfig) -> bool:
    """Whether frames have as many samples before and after as the sample rates state."""
    extension = config.extension
    whole = extension is None or extension.vocoder.hop % extension.hop == 0
    return whole and config.rate * config.samples % config.hop == 0 and config.sample_rate >= config.rate


def settings(config: LTXAudioConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLLTX2Audio, with that of the vocoder as one more entry.

    The normalization is in tensors of the file.
    """
    first = config.widths[0]
    refuse_obstacles(
        NAME,
        {
            "widths that are not multiples of the first": any(width % first for width in config.widths),
            "a normalization that rearranges latents": normalization is not None and normalization.patch > 1,
        },
        '"native"',
    )
    entries = {
        "_class_name": NAME,
        "attn_resolutions": None,
        "base_channels": first,
        "causality_axis": "height",
        "ch_mult": [width // first for width in config.widths],
        "double_z": True,
        "dropout": 0.0,
        "in_channels": config.audio_channels,
        "is_causal": True,
        "latent_channels": config.channels,
        "mel_bins": config.bins,
        "mel_hop_length": config.hop,
        "mid_block_add_attention": False,
        "norm_type": "pixel",
        "num_res_blocks": config.encoder_blocks,
        "output_channels": config.audio_channels,
        "resolution": 256,
        "sample_rate": config.rate,
    }
    return entries if config.vocoder is None else entries | {"vocoder": vocoder_entries(config.vocoder, config)}


def vocoder_entries(vocoder: VocoderConfig, config: LTXAudioConfig) -> dict[str, Any]:
    """The `config.json` of LTX2Vocoder, or of LTX2VocoderWithBWE."""
    if config.extension is None:
        return {"_class_name": "LTX2Vocoder", "output_sampling_rate": config.sample_rate} | vocoder_settings(vocoder)
    extension = config.extension
    generator = {f"bwe_{name}": value for name, value in vocoder_settings(extension.vocoder).items()}
    own = {
        "_class_name": "LTX2VocoderWithBWE",
        "filter_length": extension.window,
        "hop_length": extension.hop,
        "input_sampling_rate": config.sample_rate // extension.ratio,
        "num_mel_channels": extension.bins,
        "output_sampling_rate": config.sample_rate,
        "window_length": extension.window,
    }
    return own | vocoder_settings(vocoder) | generator


LAYOUTS = (
    Layout("original", "ltx-audio", ORIGINAL, unused=UNUSED, beside=("vocoder.",)),
    Layout("native", "ltx-audio", same_names(DIFFUSERS), beside=(PREFIX,)),
    Layout("diffusers", "ltx-audio", DIFFUSERS, beside=("vocoder.",)),
)
FAMILY = Family(
    name="ltx-audio",
    config=LTXAudioConfig,
    layouts=LAYOUTS,
    detect=detect_ltx_audio,
    build=ltx_audio.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    diffusers=settings,
    audio=lambda config: AudioFormat(config.sample_rate, config.audio_channels),
    limits=lambda config: no_vocoder(config.vocoder is not None, "LTX2Vocoder"),
    normalization_tensors=MEAN_AND_STD,
)
