"""Paths of weights files: extensions and order of preference. Does not import torch."""

from pathlib import PurePath

from vaekit.reading import exists

__all__ = ["DIFFUSERS_SETTINGS", "DIFFUSERS_WEIGHTS", "WEIGHTS_ENDINGS", "diffusers_preference", "exists"]

DIFFUSERS_WEIGHTS, DIFFUSERS_SETTINGS = "diffusion_pytorch_model.safetensors", "config.json"
"""The files of a diffusers folder."""
WEIGHTS_ENDINGS = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin", ".gguf")


def diffusers_preference(file: PurePath) -> tuple[bool, int, str]:
    """The order in which weights of one model are preferred: safetensors, then plain variants before "fp16"."""
    return file.suffix != ".safetensors", file.name.count("."), file.name
