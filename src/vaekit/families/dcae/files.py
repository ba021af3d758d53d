"""Deep compression autoencoders: layouts, diffusers settings, and config fields that weights do not determine.

Keys of the authors' own files: mit-han-lab/efficientvit and dc-ai-projects/DC-Gen (`models/nn/ops.py`, `dc_ae.py`).
"""

import dataclasses
from typing import Any, TypeVar

from vaekit.distributions import Laplace, Point
from vaekit.errors import UnknownVAE, printable
from vaekit.families.dcae import net as dcae
from vaekit.families.dcae.net import ACTIVATIONS, DCAEConfig
from vaekit.families.dcae.shapes import detect_dcae
from vaekit.families.family import Family, Fields, no_prior
from vaekit.families.layout import HALVES, Layout, Rules, same_names
from vaekit.families.normalization import one_factor
from vaekit.normalization import LatentNormalization

Config = TypeVar("Config", bound=DCAEConfig)
QKV = "context_module.main.qkv.conv.{p}"
INSIDE = (
    ("conv1.{p}", "conv1.{p}", "main.conv1.conv.{p}"),
    ("conv2.{p}", "conv2.{p}", "main.conv2.conv.{p}"),
    ("norm.{p}", "norm.{p}", "main.conv2.norm.{p}"),
    ("norm.{s}", "norm.{s}", "main.conv2.norm.{s}"),
    ("attn.q.{p}", "attn.to_q.{p}", f"{QKV}[0/3]"),
    ("attn.k.{p}", "attn.to_k.{p}", f"{QKV}[1/3]"),
    ("attn.v.{p}", "attn.to_v.{p}", f"{QKV}[2/3]"),
    ("attn.scales.{k}.0.{p}", "attn.to_qkv_multiscale.{k}.proj_in.{p}", "context_module.main.aggreg.{k}.0.{p}"),
    ("attn.scales.{k}.1.{p}", "attn.to_qkv_multiscale.{k}.proj_out.{p}", "context_module.main.aggreg.{k}.1.{p}"),
    ("attn.proj_out.{p}", "attn.to_out.{p}", "context_module.main.proj.conv.{p}"),
    ("attn.norm_out.{p}", "attn.norm_out.{p}", "context_module.main.proj.norm.{p}"),
    ("attn.norm_out.{s}", "attn.norm_out.{s}", "context_module.main.proj.norm.{s}"),
    ("glu.inverted.{p}", "conv_out.conv_inverted.{p}", "local_module.main.inverted_conv.conv.{p}"),
    ("glu.depth.{p}", "conv_out.conv_depth.{p}", "local_module.main.depth_conv.conv.{p}"),
    ("glu.point.{p}", "conv_out.conv_point.{p}", "local_module.main.point_conv.conv.{p}"),
    ("glu.norm.{p}", "conv_out.norm.{p}", "local_module.main.point_conv.norm.{p}"),
)
"""Names inside the blocks: native, diffusers', the authors'."""
ENDS = (
    ("encoder.conv_in.{p}", "encoder.project_in.conv.{p}"),
    ("encoder.conv_in.conv.{p}", "encoder.project_in.conv.conv.{p}"),
    ("decoder.norm_out.{p}", "decoder.project_out.op_list.0.{p}"),
    ("decoder.conv_out.{p}", "decoder.project_out.op_list.2.conv.{p}"),
    ("decoder.conv_out.conv.{p}", "decoder.project_out.op_list.2.conv.conv.{p}"),
)
"""Names outside the stages: native, the authors'. diffusers' names are the native ones."""
AROUND_LATENT = (
    ("encoder.conv_out.{p}", "encoder.project_out.{}op_list.0.conv.{p}"),
    ("decoder.conv_in.{p}", "decoder.project_in.{}conv.{p}"),
)
SHORTCUT = "main."
"""The infix in the authors' names of layers with a shortcut."""
RESAMPLING = "stages.{i}.{j}.conv.{p}"


def diffusers_dcae() -> Rules:
    """The rules of diffusers' AutoencoderDC."""
    stages = {"encoder": "encoder.down_blocks", "decoder": "decoder.up_blocks"}
    return (
        *((native, native) for native, _ in (*ENDS, *AROUND_LATENT)),
        *((f"{half}.{RESAMPLING}", f"{stages[half]}.{{i}}.{{j}}.conv.{{p}}") for half in HALVES),
        *(
            (f"{half}.stages.{{i}}.{{j}}.{native}", f"{stages[half]}.{{i}}.{{j}}.{foreign}")
            for half in HALVES
            for native, foreign, _ in INSIDE
        ),
    )


def original(downsample: str, shortcut: bool) -> Layout:
    """The authors' names, which depend on the downsampling and on the shortcuts around the latent."""
    conv = "conv" if downsample == "conv" else "conv.conv"
    rules = (
        *ENDS,
        *((native, foreign.replace("{}", SHORTCUT if shortcut else "")) for native, foreign in AROUND_LATENT),
        (f"encoder.{RESAMPLING}", f"encoder.stages.{{i}}.op_list.{{j}}.main.{conv}.{{p}}"),
        (f"decoder.{RESAMPLING}", "decoder.stages.{i}.op_list.{j}.main.conv.conv.{p}"),
        *(
            (f"{half}.stages.{{i}}.{{j}}.{native}", f"{half}.stages.{{i}}.op_list.{{j}}.{foreign}")
            for half in HALVES
            for native, _, foreign in INSIDE
        ),
    )
    implies = {"downsample": downsample, "encoder_out_shortcut": shortcut, "decoder_in_shortcut": shortcut}
    return Layout("original", "dcae", rules, implies=implies)


def with_stated_fields(config: Config, metadata: Fields, settings: Fields) -> Config:
    """Add the config fields that weights do not determine, if the file states them.

    Raises:
        UnknownVAE: no such network can exist.
    """
    stated = from_settings(config, settings) | {name: metadata[name] for name in STATED_FIELDS if name in metadata}
    valid = {name: value for name, value in stated.items() if is_valid(config, name, value)}
    if "decoder_relu" in valid:
        valid["decoder_relu"] = tuple(sorted(set(valid["decoder_relu"])))
    config = dataclasses.replace(config, **valid)
    widths = attention_widths(config)
    if any(width % config.head_width for width in widths):
        raise UnknownVAE(
            f"This has the keys of a deep compression autoencoder with attention over {', '.join(map(str, widths))} "
            f"channels, which are not divisible by the head width {config.head_width}.",
            "Expected the head width in the file's metadata or config.json: weights do not always determine it.",
            'Add a config.json with the right "attention_head_dim" beside the file, and give the folder.',
        )
    return config


STATED_FIELDS = ("head_width", "decoder_relu", "decoder_out_activation", "encoder_out_shortcut", "decoder_in_shortcut")
"""Fields that weights do not determine, or not always."""


def from_settings(config: DCAEConfig, settings: Fields) -> dict[str, Any]:
    """The fields that a `config.json` of AutoencoderDC states.

    Raises:
        UnknownVAE: it names an activation that vaekit does not support.
    """
    stated = {
        "head_width": settings.get("attention_head_dim"),
        "decoder_out_activation": known_activation(settings.get("decoder_conv_act_fn")),
        "encoder_out_shortcut": settings.get("encoder_out_shortcut"),
        "decoder_in_shortcut": settings.get("decoder_in_shortcut"),
    }
    functions = settings.get("decoder_act_fns")
    stages = len(config.decoder_widths)
    each = [functions] * stages if isinstance(functions, str) else functions
    if isinstance(each, list) and len(each) == stages:
        stated["decoder_relu"] = [i for i in residual_stages(config) if known_activation(each[i]) == "relu"]
    return stated


def known_activation(name: object) -> object:
    if isinstance(name, str) and name not in ACTIVATIONS:
        raise UnknownVAE(
            f"config.json specifies the activation {printable(name)!r}.",
            f"Expected one of {', '.join(ACTIVATIONS)} in a deep compression autoencoder.",
            "If this is a VAE that other software runs, please report it.",
        )
    return name


def is_valid(config: DCAEConfig, name: str, value: object) -> bool:
    """Whether a stated value is valid for a field."""
    if name == "head_width":
        return type(value) is int and value > 0
    if name == "decoder_relu":
        return isinstance(value, list) and set(map(type, value)) <= {int} and set(value) <= {*residual_stages(config)}
    if name == "decoder_out_activation":
        return isinstance(value, str) and value in ACTIVATIONS
    width = (config.encoder_widths if name == "encoder_out_shortcut" else config.decoder_widths)[-1]
    return value is False or (value is True and width % config.latent_channels == 0)


def residual_stages(config: DCAEConfig) -> list[int]:
    """Decoder stages with residual blocks."""
    return [i for i, blocks in enumerate(config.decoder_blocks) if blocks and i not in config.decoder_attention]


def attention_widths(config: DCAEConfig) -> list[int]:
    """Widths of the stages with attention, in both halves."""
    encoder = {config.encoder_widths[i] for i in config.encoder_attention}
    return sorted(encoder | {config.decoder_widths[i] for i in config.decoder_attention})


def assumed(_: DCAEConfig) -> list[str]:
    """A warning about fields assumed from published models for a network unlike any of them."""
    return [
        "Activations and latent shortcuts that the file does not state are assumed to be those of the published "
        "models: weights do not determine them."
    ]


def settings(config: DCAEConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderDC."""
    return one_factor(normalization, "AutoencoderDC") | dcae_settings(config)


def dcae_settings(config: DCAEConfig) -> dict[str, Any]:
    """The entries of AutoencoderDC for a network."""
    stages = range(len(config.decoder_widths))
    return {
        "_class_name": "AutoencoderDC",
        "attention_head_dim": config.head_width,
        "decoder_act_fns": ["relu" if i in config.decoder_relu else "silu" for i in stages],
        "decoder_block_out_channels": list(config.decoder_widths),
        "decoder_block_types": block_types(len(stages), config.decoder_attention),
        "decoder_conv_act_fn": config.decoder_out_activation,
        "decoder_in_shortcut": config.decoder_in_shortcut,
        "decoder_layers_per_block": list(config.decoder_blocks),
        "decoder_norm_types": ["batch_norm" if i in config.decoder_batch_norm else "rms_norm" for i in stages],
        "decoder_qkv_multiscales": [list(scales) for scales in config.decoder_scales],
        "downsample_block_type": "Conv" if config.downsample == "conv" else config.downsample,
        "encoder_block_out_channels": list(config.encoder_widths),
        "encoder_block_types": block_types(len(stages), config.encoder_attention),
        "encoder_layers_per_block": list(config.encoder_blocks),
        "encoder_out_shortcut": config.encoder_out_shortcut,
        "encoder_qkv_multiscales": [list(scales) for scales in config.encoder_scales],
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "upsample_block_type": config.upsample,
    }


def block_types(stages: int, attention: tuple[int, ...]) -> list[str]:
    return ["EfficientViTBlock" if i in attention else "ResBlock" for i in range(stages)]


DCAE = diffusers_dcae()
MATRICES = r".+\.attn\.(q|k|v|proj_out)\.weight"
"""diffusers stores these 1x1 convolutions as linear layers."""
LAYOUTS = (
    Layout("native", "dcae", same_names(DCAE)),
    Layout("diffusers", "dcae", DCAE, matrices=MATRICES),
    original("pixel_unshuffle", shortcut=True),
    original("conv", shortcut=True),
    original("pixel_unshuffle", shortcut=False),
    original("conv", shortcut=False),
)
FAMILY = Family(
    name="dcae",
    config=DCAEConfig,
    layouts=LAYOUTS,
    detect=detect_dcae,
    build=dcae.build,
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Laplace,
    prior_head=no_prior,
    complete=with_stated_fields,
    assumed=assumed,
    diffusers=settings,
)
