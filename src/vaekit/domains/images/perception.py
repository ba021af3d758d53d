"""How images are perceived: features for distances between sets of images, and a perceptual distance."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.domains.images.evaluate import on_levels
from vaekit.domains.measuring import MeasureOptions
from vaekit.errors import NotFound
from vaekit.evaluation.perception import Features, Perception, PerceptualDistance
from vaekit.identification.file_hashes import sha256_of
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lpips import ALEX, LPIPS
from vaekit.metrics.measure import Measure
from vaekit.pretrained.inception import GET_FEATURES, find_inception, load_inception
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.shapes import Images

SMALLEST = 64
"""The side in pixels up to which small images are enlarged for AlexNet: that of the patches LPIPS was fitted to."""
RECONSTRUCTED = "Frechet distance of {} features of originals and reconstructions."
INTERPOLATED = (
    "Frechet distance of {} features of originals and of decoded midpoints between latents and their nearest neighbors."
)
SAMPLED = "Frechet distance of {} features of originals and of decoded samples of N(0, I), taken as normalized latents."
INCEPTION = (
    Measure("rfid_all", "rFID", "", "lower", RECONSTRUCTED.format("Inception")),
    Measure("ifid", "iFID", "", "lower", INTERPOLATED.format("Inception")),
    Measure("sample_fid", "FID of samples", "", "lower", SAMPLED.format("Inception")),
)
ALEXNET = (
    Measure("rfd_alex", "rFD (AlexNet)", "", "lower", RECONSTRUCTED.format("AlexNet")),
    Measure("ifd_alex", "iFD (AlexNet)", "", "lower", INTERPOLATED.format("AlexNet")),
    Measure("sample_fd_alex", "FD of samples (AlexNet)", "", "lower", SAMPLED.format("AlexNet")),
)


def image_perception(options: MeasureOptions, device: torch.device) -> Perception:
    """Inception's features where they are available, else AlexNet's; and LPIPS (alex).

    Raises:
        NotFound, BadCheckpoint: a file of weights was named and is not there, or is something else.
    """
    missing: dict[str, str] = {}
    distance = features = None
    try:
        loaded = load_lpips(ALEX, options.lpips)
        model = loaded.lpips.to(device)
        weights = {"network": "alex", "version": "0.1", "weights": [sha256_of(source) for source in loaded.sources]}
        distance, features = lpips_distance(model, weights), alexnet_features(model, weights)
    except NotFound as absent:
        if options.lpips is not None:
            raise
        missing = {"distance": str(absent), "features": GET_FEATURES}
    path = options.features or find_inception()
    return Perception(features if path is None else inception_features(path, device), distance, missing=missing)


def inception_features(path: Path, device: torch.device) -> Features:
    """Inception's features, as for the rFID: of 8-bit images."""
    inception = load_inception(path, device)
    return Features(lambda x: inception(on_levels(x)), inception.width, inception.settings(), *INCEPTION)


def alexnet_features(model: LPIPS, weights: dict[str, Any]) -> Features:
    """The output of AlexNet's last convolution and ReLU, averaged over positions: 256 features of each 8-bit image.

    Vectors of unit length, as LPIPS compares them, hardly tell samples that look like digits from noise.
    """

    def extract(x: Images) -> Tensor:
        *_, last = model.activations(enlarged(as_rgb(on_levels(x))))
        return last.mean(dim=(2, 3))

    layer = {"layer": "relu5", "pooling": "mean over positions", "enlarged": SMALLEST}
    return Features(extract, ALEX.layers[-1].width, {"features": "AlexNet", **weights, **layer}, *ALEXNET)  # type: ignore[union-attr]  # a convolution


def lpips_distance(model: LPIPS, weights: dict[str, Any]) -> PerceptualDistance:
    """LPIPS of images as they are decoded, not clamped and not rounded."""

    def between(x: Images, y: Images) -> Tensor:
        return model(enlarged(as_rgb(x)), enlarged(as_rgb(y)))

    return PerceptualDistance(between, {**weights, "enlarged": SMALLEST})


def enlarged(images: Images) -> Tensor:
    """Images with pixels repeated until the shorter side has `SMALLEST` pixels or more."""
    times = -(-SMALLEST // min(images.shape[2:]))
    return images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3) if times > 1 else images
