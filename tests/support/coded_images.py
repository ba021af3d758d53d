"""A small VAE of gray images with 8 bits, for codecs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.parts.files import config_from_fields
from vaekit.identification.metadata import domain_notes
from vaekit.vae import VAE

SIDE = 8


GAUSSIAN = {"kind": "gaussian"}
CUSTOMARY = {"kind": "customary"}
LATENT_CHANNELS = 3


def image_vae(
    likelihood: str | Mapping[str, Any] = "logistic",
    channels: int = 1,
    posterior: Mapping[str, Any] = GAUSSIAN,
    prior: Mapping[str, Any] = CUSTOMARY,
    latent_channels: int = LATENT_CHANNELS,
) -> VAE:
    """With random weights, large enough that the latent matters."""
    net = {"kind": "residual", "image_channels": channels, "image_size": SIDE, "latent_channels": latent_channels}
    config = config_from_fields(
        {
            "net": {**net, "widths": [6], "blocks": 1},
            "posterior": posterior,
            "likelihood": {"kind": likelihood} if isinstance(likelihood, str) else likelihood,
            "prior": prior,
        }
    )
    torch.manual_seed(0)
    vae = assemble(family_of("parts"), config)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return vae.eval()


def gray_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth gray images (count, SIDE, SIDE)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    slopes = generator.normal(size=(2, count, 1, 1)) * 12
    noisy = 128 + slopes[0] * (rows - 3.5) + slopes[1] * (columns - 3.5) + generator.normal(size=(count, SIDE, SIDE))
    return noisy.clip(0, 255).astype(np.uint8)


def as_items(images: NDArray[np.uint8]) -> torch.Tensor:
    """Images as a VAE takes them, (b, 1, h, w)."""
    return torch.from_numpy(images.astype(np.float32)).unsqueeze(1) / 127.5 - 1


def write_image_vae(path: Path, likelihood: str | Mapping[str, Any] = "logistic", **parts: Any) -> Path:
    """The VAE as a file; for its parts see `image_vae`."""
    save(image_vae(likelihood, **parts), path, notes=domain_notes("images", {"size": SIDE, "channels": 1}))
    return path


def write_images(folder: Path, images: NDArray[np.uint8]) -> Path:
    """A folder of PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder
