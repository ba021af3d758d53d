"""An untrained VAE of gray images that expects gray, and a folder of images in MVTec's layout."""

from pathlib import Path

import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.domains.images.domain import ImageSchema
from vaekit.domains.images.preparation import Preparation
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.likelihoods import NormalPart
from vaekit.nets.residual import ResidualConfig

SIDE = 16


def save_gray_vae(path: Path) -> Path:
    """A VAE of whole gray images, whose decoder outputs gray."""
    torch.manual_seed(0)
    vae = assemble(PARTS, PartsConfig(ResidualConfig(1, SIDE, 2, (4,), 0), GaussianPart(), NormalPart(0.1)))  # type: ignore[arg-type]
    for weights in vae.decoder.parameters():  # type: ignore[union-attr]
        torch.nn.init.zeros_(weights)
    schema = ImageSchema(Preparation(SIDE, 1, crop="whole"))
    save(vae.eval(), path, notes=domain_notes("images", schema.as_plain()))
    return path


def fill_with_dents(folder: Path) -> Path:
    """Good images for training and for tests, and a test image with a white corner and its mask."""
    for name in ("train/good/0.png", "train/good/1.png", "test/good/0.png", "test/good/1.png", "test/dent/2.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.effect_noise((2 * SIDE, SIDE), 8)
        if "dent" in name:
            image.paste(255, (2 * SIDE - 8, 0, 2 * SIDE, 4))
        image.save(path)
    mask = folder / "ground_truth" / "dent" / "2_mask.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (2 * SIDE, SIDE)).save(mask)
    return folder
