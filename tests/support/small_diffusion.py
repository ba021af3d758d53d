"""Sixteen tiny digits, an untrained VAE of them, and recipes of diffusion models that take a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.identification.metadata import domain_notes
from vaekit.normalization import LatentNormalization
from vaekit.records import as_toml
from vaekit.tasks.generation import GenerateOptions
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.train import TrainOptions
from vaekit.vae import VAE

SIDE = 8
RECIPE: dict[str, Any] = {
    "diffusion": {
        "net": {"kind": "dit", "patch": 2, "width": 16, "depth": 1, "heads": 2},
        "condition": {"kind": "classes"},
        "sampling": {"steps": 3, "sampler": "heun", "guidance": 1.5},
    },
    "schedule": {"samples": 64, "batch_size": 8, "learning_rate": 2e-3, "averages": [0.9]},
    "data": {"domain": "images", "size": SIDE, "channels": 1, "held_out": 2},
}


def write_digits(folder: Path) -> Path:
    """Two classes of eight bars each, in class folders, with captions beside them."""
    for name, caption in (("0", "a bar that stands"), ("1", "a bar that lies")):
        (folder / name).mkdir(parents=True)
        for place in range(8):
            pixels = np.zeros((SIDE, SIDE), np.uint8)
            pixels[(slice(None), place) if name == "0" else place] = 255
            Image.fromarray(pixels).save(folder / name / f"{place}.png")
            (folder / name / f"{place}.txt").write_text(f"{caption}, place {place}")
    return folder


def write_vae(path: Path, seed: int = 0, channels: int = 2, scale: float = 1.0) -> Path:
    """A VAE with random weights: gray images, latents of half the side."""
    torch.manual_seed(seed)
    sizes = (8, 8)
    config = KLConfig(1, channels, channels, sizes, sizes, 1, 1, (), (), False, True, True, 4)
    vae: VAE = assemble(family_of("kl"), config)
    vae.normalization = LatentNormalization((0.0,), (scale,))
    save(vae, path, notes=domain_notes("images", {"size": SIDE, "channels": 1}))
    return path


def write_recipe(path: Path, **tables: Any) -> Path:
    """The recipe with entries of [diffusion], [schedule], [data] or [vae] replaced."""
    table = {name: {**RECIPE.get(name, {}), **tables.get(name, {})} for name in {*RECIPE, *tables}}
    path.write_text(as_toml(table), "utf-8")
    return path


def train_options(folder: Path, changes: Sequence[str] = (), out: str = "run", vae: bool = True) -> TrainOptions:
    """A training on the digits, with files made where they are missing."""
    if not (folder / "digits").exists():
        write_digits(folder / "digits")
        write_vae(folder / "vae.safetensors")
        write_recipe(folder / "small.toml")
    encoder = ModelOptions(str(folder / "vae.safetensors")) if vae else None
    return TrainOptions(
        str(folder / "small.toml"), folder / "digits", folder / out, changes=changes, device="cpu", vae=encoder
    )


def generate_options(folder: Path, out: str = "made", **changes: Any) -> GenerateOptions:
    """Items of the class 1 from the run."""
    return GenerateOptions(**{"model": folder / "run", "out": folder / out, "prompt": "1", "device": "cpu", **changes})
