"""The `config.json` with which diffusers builds the same network, or the reason why it cannot."""

import dataclasses
from typing import Any

from vaekit.checkpoints.families import Config
from vaekit.checkpoints.statistics import EPSILON, PATCH, statistics_of
from vaekit.errors import WrongTensors
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig
from vaekit.vae import LatentFrame


def diffusers_settings(config: Config, frame: LatentFrame | None) -> dict[str, Any]:
    """The `config.json` with which diffusers builds the same network.

    Raises:
        WrongTensors: diffusers' class cannot be told to build this network.
    """
    if isinstance(config, TinyConfig):
        return _autoencoder_tiny(config)
    if isinstance(config, VQConfig):
        return _vq_model(config) | _vq_frame(frame)
    if statistics_of(frame, config.latent_channels):
        return _autoencoder_kl_flux2(config)
    return _autoencoder_kl(config) | _diffusers_frame(frame)


def _autoencoder_kl_flux2(config: KLConfig) -> dict[str, Any]:
    """The class with batch-norm statistics, whose decoder may have widths of its own."""
    same_widths = dataclasses.replace(config, decoder_widths=config.encoder_widths)
    return _autoencoder_kl(same_widths) | {
        "_class_name": "AutoencoderKLFlux2",
        "batch_norm_eps": EPSILON,
        "decoder_block_out_channels": list(config.decoder_widths),
        "patch_size": [PATCH, PATCH],
    }


def _autoencoder_kl(config: KLConfig) -> dict[str, Any]:
    between = config.hidden_channels != config.latent_channels
    return _nets(config, "AutoencoderKL", {"1x1 convolutions that change the number of channels": between}) | {
        "latent_channels": config.latent_channels,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
    }


def _vq_model(config: VQConfig) -> dict[str, Any]:
    lacking = not (config.quant_conv and config.post_quant_conv)
    return _nets(config, "VQModel", {"no 1x1 convolutions around the latent": lacking}) | {
        "latent_channels": config.hidden_channels,
        "num_vq_embeddings": config.codes,
        "vq_embed_dim": config.latent_channels,
    }


def _nets(config: KLConfig, name: str, more_obstacles: dict[str, bool]) -> dict[str, Any]:
    """What diffusers' classes with these nets have in common, if they can express them."""
    obstacles = more_obstacles | {
        "different widths in encoder and decoder": config.encoder_widths != config.decoder_widths,
        "another number of blocks in the decoder than one more": config.decoder_blocks != config.encoder_blocks + 1,
    }
    met = [obstacle for obstacle, there in obstacles.items() if there]
    if met:
        raise WrongTensors(
            f"diffusers' {name} cannot express this VAE: it has {' and '.join(met)}.",
            "",
            'Save it in the "ldm" or "native" layout.',
        )
    levels = range(len(config.encoder_widths))
    return {
        "_class_name": name,
        "act_fn": "silu",
        "block_out_channels": list(config.encoder_widths),
        "down_block_types": [f"{'Attn' * (i in config.encoder_attention)}DownEncoderBlock2D" for i in levels],
        "up_block_types": [f"{'Attn' * (i in config.decoder_attention)}UpDecoderBlock2D" for i in reversed(levels)],
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "layers_per_block": config.encoder_blocks,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": config.norm_groups,
        "sample_size": 512,
    }


def _vq_frame(frame: LatentFrame | None) -> dict[str, Any]:
    """VQModel knows one factor and nothing else."""
    settings = _diffusers_frame(frame)
    if "latents_mean" in settings or settings.get("shift_factor"):
        raise WrongTensors(
            "diffusers' VQModel has no word for this frame, which shifts latents or scales them by channel.",
            "",
            'Save the VAE in the "ldm" or "native" layout.',
        )
    return {"scaling_factor": settings["scaling_factor"]}


def _diffusers_frame(frame: LatentFrame | None) -> dict[str, Any]:
    """The frame in diffusers' words. An unknown one is null: left out, diffusers would silently put SD1's 0.18215."""
    if frame is None:
        return {"scaling_factor": None}
    if frame.patch > 1:
        raise WrongTensors(
            f"diffusers has no word for this frame, which rearranges {frame.patch}x{frame.patch} latents.",
            "",
            'Save the VAE in the "native" layout.',
        )
    if len(frame.shift) > 1 or len(frame.scale) > 1:
        channels = max(len(frame.shift), len(frame.scale))
        shift, scale = (values * (channels // len(values)) for values in (frame.shift, frame.scale))
        return {"scaling_factor": 1.0, "latents_mean": list(shift), "latents_std": [1 / value for value in scale]}
    return {"scaling_factor": frame.scale[0], "shift_factor": frame.shift[0] or None}


def _autoencoder_tiny(config: TinyConfig) -> dict[str, Any]:
    if config.pool:
        raise WrongTensors(
            "diffusers' AutoencoderTiny cannot express this VAE: it has the GroupNorm branch of TAEF2.",
            "",
            'Save it in the "native" or "tiny" layout.',
        )
    levels = len(config.encoder_blocks)
    return {
        "_class_name": "AutoencoderTiny",
        "act_fn": "relu",
        "encoder_block_out_channels": [config.width] * levels,
        "decoder_block_out_channels": [config.width] * levels,
        "num_encoder_blocks": list(config.encoder_blocks),
        "num_decoder_blocks": list(config.decoder_blocks),
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "scaling_factor": 1.0,
        "upsampling_scaling_factor": 2,
    }
