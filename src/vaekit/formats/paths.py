"""Paths of weights files: extensions and order of preference. Does not import torch."""

from pathlib import Path, PurePath

from vaekit.run_folder import DIFFUSION

DIFFUSERS_WEIGHTS, DIFFUSERS_SETTINGS = "diffusion_pytorch_model.safetensors", "config.json"
"""The files of a diffusers folder."""
WEIGHTS_ENDINGS = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin", ".gguf")
REFERENCE = "anomaly.safetensors"
"""The end of the name of a file with statistics of normal data beside a VAE, which holds no weights."""


def holds_weights(name: str) -> bool:
    """Whether a file holds weights that may be those of a VAE, by its name. The diffusion model of a run may not: the
    VAE is beside it.

    >>> holds_weights("vae.safetensors"), holds_weights("vae.safetensors.anomaly.safetensors")
    (True, False)
    """
    return PurePath(name).suffix.lower() in WEIGHTS_ENDINGS and not (
        name.endswith(REFERENCE) or PurePath(name).name == DIFFUSION
    )


def missing_target(path: Path) -> str:
    """Where a link to a missing file points, such as one of an incomplete cache; empty if the path is no such link."""
    try:
        return str(path.readlink()) if path.is_symlink() and not path.exists() else ""
    except (OSError, ValueError):
        return ""


def diffusers_preference(file: PurePath) -> tuple[bool, int, str]:
    """The order in which weights of one model are preferred: safetensors, then plain variants before "fp16"."""
    return file.suffix != ".safetensors", file.name.count("."), file.name
