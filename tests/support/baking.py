"""Signs of host models, and VAEs to bake into checkpoints."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file

from vaekit.identification.metadata import normalization_text
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

Shapes = dict[str, tuple[int, ...]]

SDXL_SIGN: Shapes = {"conditioner.embedders.1.model.ln_final.weight": (1280,)}
SD1_SIGN: Shapes = {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}
FLUX_SIGN: Shapes = {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (8, 8)}
SD3_SIGN: Shapes = {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}


def bits(path: Path) -> dict[str, tuple[object, ...]]:
    """Every tensor of a file: dtype, shape and bytes."""
    return {
        key: (tensor.dtype, tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        for key, tensor in load_file(path).items()
    }


def changed(vae: VAE, seed: int = 3) -> VAE:
    """Another VAE of the same shape."""
    other = copy.deepcopy(vae)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return other


def normalization_metadata(scale: float, shift: float = 0.0) -> dict[str, str]:
    return {"vaekit.normalization": normalization_text(LatentNormalization((shift,), (scale,)))}
