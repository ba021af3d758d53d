"""Measures of images: fidelity, bits per pixel, and the distance between two sets of features."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.distributions import Prior
from vaekit.domains.images.read import RGBA
from vaekit.errors import counted
from vaekit.evaluation.measures import NAT, ItemMeasure, PooledMeasure, PooledResult, Result, rate
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.frechet import RunningGaussian, frechet_distance
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ssim import ssim
from vaekit.metrics.kernel_distance import kernel_distance
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import Z
from vaekit.pretrained.inception import Inception

ENOUGH = 2048
"""Minimum number of images for rFID: fewer leave the covariance of 2048 features without full rank."""
KEPT = 4096
"""Images whose features are kept for the rKID: 64 MB of them."""

PSNR = Measure("psnr", "PSNR", "dB", "higher", "Peak signal-to-noise ratio of 8-bit images, mean of the images'.")
SSIM = Measure("ssim", "SSIM", "", "higher", "Structural similarity, Gaussian window of 11x11, RGB.")
LPIPS_ALEX = Measure("lpips", "LPIPS (alex)", "", "lower", "Distance of AlexNet's features, version 0.1.")
PER_PIXEL = Measure("kl_bits_per_pixel", "KL", "bits per pixel", None, "The KL in bits, over rows times columns.")
RFID = Measure("rfid", "rFID", "", "lower", "Frechet distance of Inception's features of originals and results.")
RKID = Measure("rkid", "rKID", "", "lower", "Squared kernel distance of the same features; no bias, may be negative.")


def fidelity() -> ItemMeasure:
    """PSNR and SSIM; of RGBA over white."""

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        x, y = (as_rgb(each) if each.shape[1] == RGBA else each for each in (vae_pass.x, vae_pass.result))
        return {"psnr": psnr(x, y), "ssim": ssim(x, y)}

    return ItemMeasure((PSNR, SSIM), compute)


def perceptual(model: LPIPS, sha256: Sequence[str]) -> ItemMeasure:
    """LPIPS, by weights whose files have these hashes. Images that its network cannot take have none."""

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        if min(vae_pass.x.shape[2:]) < model.backbone.smallest:
            return {"lpips": torch.full((len(vae_pass.x),), torch.nan)}
        return {"lpips": model(as_rgb(vae_pass.x), as_rgb(vae_pass.result))}

    return ItemMeasure((LPIPS_ALEX,), compute, {"network": "alex", "version": "0.1", "weights": list(sha256)})


def image_rate(prior: Prior) -> ItemMeasure:
    """The KL, per pixel too."""
    inner = rate(prior, "image")

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        values = inner.compute(vae_pass)
        rows, columns = vae_pass.x.shape[2:]
        return {**values, PER_PIXEL.name: values["kl"] * NAT / (rows * columns)}

    return ItemMeasure((*inner.quantities, PER_PIXEL), compute, inner.settings)


def feature_distances(inception: Inception, seed: int) -> PooledMeasure:
    """rFID and rKID: how far apart originals and reconstructions are as two sets of images."""

    def rows(vae_pass: VAEPass) -> Tensor:
        return torch.cat([inception(vae_pass.x), inception(vae_pass.result)], dim=1)

    settings = inception.settings() | {"kid_kept": KEPT, "least_images_for_fid": ENOUGH}
    return PooledMeasure("rfid", rows, lambda: FeaturePool(inception.width, seed), settings)


@dataclass(eq=False)
class FeaturePool:
    """Features of originals and reconstructions, side by side in each row: sums of all, and a sample of `KEPT`.

    The sample is a reservoir (Vitter 1985, algorithm R), and follows from the seed and the order of the rows.
    """

    width: int
    seed: int
    kept: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.sets = RunningGaussian(self.width), RunningGaussian(self.width)
        self._random = random.Random(self.seed)

    def add(self, rows: Tensor) -> None:
        for i, row in enumerate(rows, start=self.sets[0].count):
            place = i if i < KEPT else self._random.randrange(i + 1)
            if place < KEPT:
                self.kept[place : place + 1] = [row.clone()]
        for features, running in zip(rows.split(self.width, dim=1), self.sets, strict=True):
            running.add(features)

    def result(self) -> PooledResult:
        count = self.sets[0].count
        if count < 2:
            return PooledResult(not_measured=dict.fromkeys(("rfid", "rkid"), "one image is no set"))
        kid = self._kid(count)
        if count >= ENOUGH:
            distance = frechet_distance(*(running.gaussian() for running in self.sets))
            return PooledResult((Result(RFID, distance, count=count), kid))
        reason = f"{counted(count, 'image')}; at least {ENOUGH} are needed, and rKID replaces it"
        return PooledResult((kid,), {"rfid": reason}, (f"rFID not measured: {reason}.",))

    def _kid(self, count: int) -> Result:
        x, y = torch.stack(self.kept).split(self.width, dim=1)
        kid = kernel_distance(x, y, self.seed)
        error = kid.standard_error
        low, high = (None, None) if error is None else (kid.value - Z * error, kid.value + Z * error)
        return Result(RKID, kid.value, error, low, high, count)
