"""Autoencoder classes of diffusers, and codecs of transformers: their tensors, and what vaekit calls them."""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import diffusers
import torch
from diffusers.models import autoencoders
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in build().state_dict().items()}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "AutoencoderKLTemporalDecoder": {
        "block_out_channels": (32, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "layers_per_block": 1,
    },
    "ConsistencyDecoderVAE": {
        "encoder_block_out_channels": (32, 64),
        "encoder_down_block_types": ("DownEncoderBlock2D",) * 2,
    },
    "AutoencoderKLHunyuanImage": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 64,
        "block_out_channels": (128, 256, 512, 512, 1024, 1024),
        "layers_per_block": 2,
        "spatial_compression_ratio": 32,
        "sample_size": 384,
    },
    "RFD4ProteinaAutoencoder": {
        "atom37_mask": [[True] * 37] * 147,
        "allowed_residue_types": [[True] * 147] * 7,
        "nlayers": 1,
        "token_dim": 24,
        "nheads": 2,
        "dim_cond": 8,
        "pair_repr_dim": 8,
        "token_type_emb_dim": 8,
    },
}
"""Arguments of classes that need some, or that are large."""
NOT_ON_META = ("RFD4ProteinaAutoencoder",)
"""Those whose tables have values that are read when the class is built."""


@cache
def autoencoder_classes() -> dict[str, type[nn.Module]]:
    """Every model class in diffusers' package of autoencoders, by its name."""
    modules = [
        importlib.import_module(f"{autoencoders.__name__}.{m.name}")
        for m in pkgutil.iter_modules(autoencoders.__path__)
    ]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, diffusers.ModelMixin) and value.__module__ == module.__name__
    }


@cache
def of_diffusers(name: str) -> Shapes:
    """The tensors of a class of diffusers, as large as by default unless `ARGUMENTS` says otherwise."""
    build = autoencoder_classes()[name]
    with warnings.catch_warnings(), torch.device("cpu" if name in NOT_ON_META else "meta"):
        warnings.simplefilter("ignore", FutureWarning)  # of torch.nn.utils.weight_norm, which diffusers uses
        return {key: tuple(tensor.shape) for key, tensor in build(**ARGUMENTS.get(name, {})).state_dict().items()}


OF_DIFFUSERS: dict[str, tuple[str, int | None]] = {
    "AutoencoderKLTemporalDecoder": ("Stable Video Diffusion", 4),
    "ConsistencyDecoderVAE": ("ConsistencyDecoder", 4),
    "AutoencoderKLCosmos": ("Cosmos tokenizer", 16),
    "AutoencoderKLCogVideoX": ("CogVideoX", 16),
    "AutoencoderKLLTXVideo": ("LTX-Video", 128),
    "AutoencoderKLLTX2Video": ("LTX-Video", 128),
    "LTX2VideoDiffusionDecoderModel": ("LTX-2.5 diffusion decoder", 128),
    "AutoencoderKLMochi": ("Mochi 1 in diffusers' layout", 12),
    "AutoencoderKLHunyuanVideo": ("HunyuanVideo", 16),
    "AutoencoderKLHunyuanVideo15": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLHunyuanImageRefiner": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLKVAE": ("KVAE 2-D (Kandinsky)", 16),
    "AutoencoderKLKVAEVideo": ("KVAE 3-D (Kandinsky)", 16),
    "Kandinsky6SRVAE": ("Kandinsky 6", 64),
    "AutoencoderKLMiniMaxH3": ("MiniMax-H3", 24),
    "AutoencoderKLAllegro": ("Allegro", 4),
    "AutoencoderKLMagvit": ("EasyAnimate (MagVIT)", 16),
    "AutoencoderVidTok": ("VidTok", 4),
    "AutoencoderRAE": ("RAE (representation autoencoder)", 768),
    "AutoencoderOobleck": ("Stable Audio (Oobleck)", 64),
    "LongCatAudioDiTVae": ("LongCat-AudioDiT", 64),
    "AutoencoderSAME": ("Stable Audio 3 (SAME)", 256),
    "AutoencoderKLLTX2Audio": ("LTX-2 audio", 8),
    "MMAudioVAE": ("MMAudio", 40),
    "MMAudioVocoder": ("BigVGAN (vocoder)", None),
    "AutoencoderKLMiniMaxH3Audio": ("MiniMax-H3 audio", 32),
    "MiniMaxMusic3Vocoder": ("MiniMax Music 3", 128),
    "Cosmos3AVAEAudioTokenizer": ("Cosmos 3 audio", 64),
    "AutoencoderKLKVAEAudio": ("KVAE audio (Kandinsky)", 64),
    "RFD4ProteinaAutoencoder": ("RFD4 Proteina", 32),
}
"""Classes of diffusers: the name in the table, and the latent channels by default."""
RUNNABLE: dict[str, tuple[str, ...]] = {
    "AsymmetricAutoencoderKL": ("asymmetric",),
    "AutoencoderDC": ("dcae",),
    "AutoencoderKL": ("kl",),
    "AutoencoderKLFlux2": ("kl",),
    "AutoencoderKLHunyuanImage": ("hunyuan-image",),
    "AutoencoderKLQwenImage": ("wan",),
    "AutoencoderKLQwenImage21": ("wan2.2",),
    "AutoencoderKLWan": ("wan", "wan2.2"),
    "AutoencoderTiny": ("tiny",),
    "VQModel": ("vq",),
}
"""Classes of diffusers that run, each with its families."""
OF_TRANSFORMERS = {
    "DacModel": "DAC (Descript Audio Codec)",
    "EncodecModel": "EnCodec",
    "MimiModel": "Mimi",
    "SpeechT5HifiGan": "HiFi-GAN (vocoder)",
    "XcodecModel": "X-Codec",
    "Xcodec2Model": "X-Codec 2 / NeuCodec",
    "NeuCodecModel": "X-Codec 2 / NeuCodec",
    "VibeVoiceAcousticTokenizerModel": "VibeVoice acoustic tokenizer",
}
"""Codecs and vocoders of transformers: the name in the table."""
