"""The configs of the models that people publish, by what they are called."""

import dataclasses
from typing import Any

import family_examples

from vaekit.families import Config
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config

SD = (128, 256, 512, 512)
FOUR = (64, 64, 64, 64)
F4, F16, F32 = (128, 256, 512), (128, 128, 256, 256, 512), (128, 128, 256, 256, 512, 512)
QWEN = (96, 192, 384, 768, 768)
HUNYUAN = (128, 256, 512, 512, 1024, 1024)


def kl(
    channels: int,
    widths: tuple[int, ...],
    blocks: int = 2,
    attention: tuple[int, ...] = (),
    mid: bool = True,
    quant: bool = True,
) -> KLConfig:
    return KLConfig(
        3, channels, channels, widths, widths, blocks, blocks + 1, attention, attention, mid, quant, quant, 32
    )


def vq(channels: int, widths: tuple[int, ...], codes: int, *, mid: bool = True, **changes: Any) -> VQConfig:
    attention = changes.pop("attention", ())
    fields = dataclasses.asdict(kl(channels, widths, attention=attention, mid=mid)) | changes
    return VQConfig(**fields, codes=codes)


def asymmetric(widths: tuple[int, ...], blocks: int) -> AsymmetricConfig:
    fields = dataclasses.asdict(kl(4, SD))
    return AsymmetricConfig(**fields | {"decoder_widths": widths, "decoder_blocks": blocks + 1})


def dcae(channels: int, encoder: tuple[int, ...], decoder: tuple[int, ...], **changes: Any) -> DCAEConfig:
    """The in and mix models but for what is changed. An empty first stage repeats the width of the second."""
    stages = len(encoder)
    deep = (512, 512, 1024, 1024, *changes.pop("deeper", ()))
    fields: dict[str, Any] = {
        "image_channels": 3,
        "latent_channels": channels,
        "encoder_widths": (128 if encoder[0] else 256, 256, *deep),
        "decoder_widths": (128 if decoder[0] else 256, 256, *deep),
        "encoder_blocks": encoder,
        "decoder_blocks": decoder,
        "encoder_attention": tuple(range(3, stages)),
        "decoder_attention": tuple(range(3, stages)),
        "encoder_scales": ((),) * stages,
        "decoder_scales": ((),) * stages,
        "decoder_batch_norm": (1, 2),
        "downsample": "pixel_unshuffle",
        "upsample": "pixel_shuffle",
        "head_width": 32,
        "decoder_relu": (1, 2),
        "decoder_out_activation": "relu",
        "encoder_out_shortcut": True,
        "decoder_in_shortcut": True,
    }
    return DCAEConfig(**fields | changes)


FIVES: dict[str, Any] = {"encoder_scales": ((), (), (), (5,), (5,), (5,)), "downsample": "conv"}
SANA: dict[str, Any] = FIVES | {"decoder_batch_norm": (), "decoder_relu": ()}
RESIDUAL: dict[str, Any] = {"decoder_attention": (), "decoder_batch_norm": (), "decoder_relu": ()}
RESIDUAL |= {"decoder_out_activation": "silu"}
BARE: dict[str, Any] = RESIDUAL | {"encoder_attention": (), "encoder_out_shortcut": False, "decoder_in_shortcut": False}

PUBLISHED: dict[str, Config] = {
    "SD1 and SDXL": kl(4, SD),
    "SD3 and FLUX.1": kl(16, SD, quant=False),
    "CogView4": kl(16, (128, 512, 1024, 1024), blocks=3, mid=False, quant=False),
    "FLUX.2": kl(32, SD),
    "x4 upscaler": kl(4, F4),
    "LDM kl-f4": kl(3, F4),
    "LDM kl-f16": kl(16, F16, attention=(4,)),
    "LDM kl-f32": kl(64, F32, attention=(4, 5)),
    "FLUX.2 small decoder": dataclasses.replace(kl(32, SD), decoder_widths=(96, 192, 384, 384)),
    "embedding narrower than z": dataclasses.replace(kl(4, SD), hidden_channels=16),
    "LDM vq-f4": vq(3, F4, 8192),
    "LDM vq-f4-noattn": vq(3, F4, 8192, mid=False),
    "LDM vq-f8": vq(4, (128, 256, 256, 512), 16384, attention=(3,)),
    "LDM vq-f8-n256": vq(4, (128, 256, 256, 512), 256, attention=(3,)),
    "LDM vq-f16": vq(8, F16, 16384, attention=(4,)),
    "VQ with a wider z": vq(4, F4, 1024, hidden_channels=256),
    "TAESD": TinyConfig(3, 4, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAESD3 and TAEF1": TinyConfig(3, 16, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAEF2": TinyConfig(3, 32, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), True),
    "TAESANA": TinyConfig(3, 32, (32, 64), FOUR, (256, 128, 64, 64, 64, 64), (1, 3, 3, 3), (3, 3, 3, 3, 3, 1), False),
    "Asymmetric x1.5": asymmetric((192, 384, 768, 768), 3),
    "Asymmetric x2": asymmetric((256, 512, 1024, 1024), 5),
    "VAE-approx": ApproxConfig(3, 4, (8, 16, 32, 64, 32, 16, 8), (7, 5, 3, 3, 3, 3, 3, 3)),
    "disentangling-vae MNIST": BurgessConfig(1, 32, 32, 256, 10),
    "disentangling-vae CelebA": BurgessConfig(3, 64, 32, 256, 10),
    "JointVAE": JointConfig(3, 64, 32, 256, 32, (10,)),
    "Wan 2.1 and Qwen-Image": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (1, 2), True),
    "Qwen2D": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (), False),
    "Wan 2.1 with a quarter of the width": WanConfig(3, 16, (24, 48, 96, 96), (96, 96, 48, 24), 2, 3, (1, 2), True),
    "Wan 2.2": Wan22Config(3, 48, (160, 320, 640, 640), (1024, 1024, 512, 256), 2, 3, (1, 2), True, 2),
    "Qwen-Image 2.1": Wan22Config(4, 64, QWEN, (1152, 1152, 576, 288, 144), 2, 3, (1, 2, 3), False, 1),
    "HunyuanImage 2.1": HunyuanImageConfig(3, 64, HUNYUAN, HUNYUAN[::-1], 2, 3),
    "DC-AE Sana": dcae(
        32,
        (2, 2, 2, 3, 3, 3),
        (3, 3, 3, 3, 3, 3),
        **SANA | {"decoder_scales": FIVES["encoder_scales"], "upsample": "interpolate"},
    ),
    "DC-AE Lite": dcae(32, (2, 2, 2, 3, 3, 3), (0, 3, 5, 4, 4, 4), **FIVES | RESIDUAL),
    "DC-AE f32c32": dcae(32, (0, 4, 8, 2, 2, 2), (0, 5, 10, 2, 2, 2)),
    "DC-AE f64c128": dcae(128, (0, 4, 8, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2), deeper=(2048,)),
    "DC-AE f128c512": dcae(512, (0, 4, 8, 2, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2, 2), deeper=(2048, 2048)),
    "DC-AE 1.5 f32c128": dcae(128, (0, 5, 10, 4, 4, 4), (0, 5, 10, 4, 4, 4), **BARE),
    "DC-AE 1.5 f64c128": dcae(128, (0, 5, 10, 4, 4, 4, 4), (0, 5, 10, 4, 4, 4, 4), **BARE | {"deeper": (1024,)}),
} | family_examples.PUBLISHED
