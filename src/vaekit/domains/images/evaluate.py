"""Evaluate VAEs on images: preparation, runs and measures."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.datasets.dataset import ArrayRecord, BytesRecord, Dataset, Record
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.decode import not_an_image, pixels_of
from vaekit.domains.images.exposure import ABSOLUTE, Exposure
from vaekit.domains.images.image_measures import feature_distances, fidelity, image_rate, perceptual
from vaekit.domains.images.read import RGBA, LoadedImage, find_images, for_vae, read_image, with_channels
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.domains.images.write import to_bytes
from vaekit.domains.measuring import EvaluationItems, MeasureOptions
from vaekit.errors import NotFound, VaekitError
from vaekit.evaluation.code_use import HasCodes, code_use
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure, evidence
from vaekit.evaluation.protocol import digest
from vaekit.evaluation.vae_pass import EngineRunner
from vaekit.geometry import Geometry
from vaekit.identification.file_hashes import sha256_of
from vaekit.metrics.image.color import as_rgb
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.lpips import ALEX
from vaekit.pretrained.inception import GET_FEATURES, find_inception, load_inception
from vaekit.pretrained.lpips_weights import load_lpips
from vaekit.shapes import Images
from vaekit.vae import VAE

SIZE = 256
"""The default side of the center crop."""
FILTER = Image.Resampling.BICUBIC
NLL_SAMPLES = 64
"""For the evaluation at the end of a training run: enough to compare runs, too few to publish."""
SMALLEST_FOR_LPIPS = 64
"""The side of the patches that LPIPS was fitted to (arXiv 1801.03924, section 2)."""
LARGEST_FOR_NLL = 2**14
"""The maximum number of values of images whose likelihood is estimated after training, by many runs of the decoder."""
NO_PRIOR = "The encoder of this VAE gives a point and no distribution."
COMPUTING = ("torch", "numpy", "pillow", "ncnn")
"""The libraries that results depend on."""


class ImageRunner(EngineRunner):
    """An engine whose images have the 256 levels of a file."""

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        return on_levels(super().decode(z, like))


def on_levels(images: Images) -> Images:
    """Images as an 8-bit file would have them, in [-1, 1].

    Raises:
        BadItem: some values are NaN or infinite.
    """
    for image in images.split(1):
        if not image.isfinite().all():
            to_bytes(as_rgb(image))
    return as_saved(images)


def prepared(image: LoadedImage, size: int | None, geometry: Geometry, exposure: Exposure = ABSOLUTE) -> Tensor:
    """An image as the VAE takes it: (c, h, w) in [-1, 1], of 8-bit values.

    With a size, its short side is resized to that (bicubic, antialiased, by Pillow; small images are enlarged), and the
    center square is cropped.
    """
    pixels = with_channels(image, RGBA)[0] if geometry.channels == RGBA else image.pixels
    pil = Image.fromarray(to_bytes(pixels))
    if size is not None:
        scale = size / min(pil.size)
        wide, high = (max(size, round(side * scale)) for side in pil.size)
        resized = pil.resize((wide, high), FILTER) if (wide, high) != pil.size else pil
        left, top = (wide - size) // 2, (high - size) // 2
        pil = resized.crop((left, top, left + size, top + size))
    pixels = from_bytes(pil)
    return exposure.apply(pixels if geometry.channels == RGBA else for_vae(LoadedImage(pixels), geometry)[0])[0]


def preparation(size: int | None, channels: int, exposure: Exposure = ABSOLUTE) -> dict[str, Any]:
    """The description of `prepared`, for the protocol."""
    gray = {"channels": "Rec. 601 luma of sRGB values"} if channels == 1 else {}
    if exposure.is_relative:
        gray["exposure"] = "stops relative to the mean of each image"
    alpha = "measured over white" if channels == RGBA else "ignored"
    ground = {"colors": f"sRGB, upright, 8 bits a channel; transparency {alpha}", **gray}
    ground["result"] = "clamped and rounded to 8 bits before it is measured"
    if size is None:
        return {"resize": None, "crop": None, **ground}
    resize = f"short side to {size}, enlarging too; bicubic, antialiased, by Pillow on 8-bit values"
    return {"resize": resize, "crop": f"the middle {size}x{size}", **ground}


def image_measures(device: torch.device, lpips: Path | None = None) -> tuple[list[ItemMeasure], dict[str, str]]:
    """Measures of an image and its reconstruction; and the missing ones, by name, with reasons.

    Raises:
        NotFound, BadCheckpoint: a given file of weights does not exist, or is something else.
    """
    try:
        distance = load_lpips(ALEX, lpips)
    except NotFound as absent:
        if lpips is not None:
            raise
        return [fidelity()], {"lpips": str(absent)}
    hashes = [sha256_of(source) for source in distance.sources]
    return [fidelity(), perceptual(distance.lpips.to(device), hashes)], {}


def latent_measures(vae: VAE, nll_samples: int) -> Measures:
    """Measures of latents: KL if there is a prior, ELBO and NLL with samples, the use of codes if there are any."""
    prior, head = vae.prior, vae.to_posterior
    items = [] if prior is None else [image_rate(prior)]
    if prior is not None and nll_samples:
        items.append(evidence(prior, nll_samples, "image"))
    return Measures(tuple(items), (code_use(head),) if isinstance(head, HasCodes) else ())


def measures_for(vae: VAE, options: MeasureOptions, device: torch.device) -> tuple[Measures, dict[str, str]]:
    """Measures of images; and those that are not possible, by name, with reasons.

    Raises:
        NotFound, BadCheckpoint: a file of weights is not there, or is something else.
    """
    side = side_of(vae.geometry, options)
    fidelities, missing = image_measures(device, options.lpips)
    if side is not None and side < ALEX.smallest:
        fidelities, missing = [fidelity()], {"lpips": f"Images of {side} pixels are too small for LPIPS."}
    samples = options.nll_samples or 0
    latent = latent_measures(vae, samples)
    pooled = [*latent.pooled]
    if vae.prior is None:
        missing |= dict.fromkeys(("kl", *(("elbo", "nll") if samples else ())), NO_PRIOR)
    features = options.features or find_inception()
    if features is not None:
        pooled.append(feature_distances(load_inception(features, device), options.seed))
    else:
        missing |= dict.fromkeys(("rfid", "rkid"), GET_FEATURES)
    return Measures((*fidelities, *latent.items), tuple(pooled)), missing


def held_out_measures(vae: VAE, held_out: Tensor, device: torch.device) -> tuple[Measures, dict[str, str]]:
    """Measures of held-out images (b, c, h, w): PSNR and SSIM, LPIPS of color images that are not small, the use of
    codes, KL if there is a prior, and ELBO and NLL of small images."""
    colored = held_out.shape[1] == 3 and min(held_out.shape[2:]) >= SMALLEST_FOR_LPIPS
    fidelities, missing = image_measures(device) if colored else ([fidelity()], {})
    latent = latent_measures(vae, NLL_SAMPLES if held_out[0].numel() <= LARGEST_FOR_NLL else 0)
    return Measures((*fidelities, *latent.items), latent.pooled), missing


def image_items(path: Path, vae: VAE, options: MeasureOptions, exposure: Exposure = ABSOLUTE) -> EvaluationItems:
    """The images in a folder and below it, or in a container; its test split, if it has one.

    Args:
        path: the folder or container.
        vae: the VAE.
        options: the size of the images.
        exposure: of the images that the VAE was trained on.

    Raises:
        BadItem: the VAE takes no images.
        NotFound, NoTrainingData: there is no such path, or there are no images in it.
    """
    geometry = vae.geometry
    geometry.require_axes(2, "images")
    size = side_of(geometry, options)
    dataset = container_at(path)
    if dataset is not None:
        numbers = {dataset.key(number): number for number in range(len(dataset))}
        return EvaluationItems(
            list(numbers),
            lambda name: prepared(image_of(dataset.read(numbers[name])), size, geometry, exposure),
            lambda names: digest_of_images(dataset, [numbers[name] for name in names]),
            preparation(size, geometry.channels, exposure),
        )
    paths = named(path)
    return EvaluationItems(
        list(paths),
        lambda name: prepared(read_image(paths[name]), size, geometry, exposure),
        lambda names: digest({name: paths[name] for name in names}),
        preparation(size, geometry.channels, exposure),
    )


def container_at(path: Path) -> Dataset | None:
    """The images of a container (idx files, npz, tar, Parquet, ...); None for image files, alone or in folders.

    Raises:
        NoTrainingData: the container is damaged, or has no images.
    """
    if os.path.isdir(path):  # noqa: PTH112 (False, not an error, where the path cannot be looked at)
        try:
            find_images([path])
            return None
        except NotFound:
            if not any(path.iterdir()):
                raise
    elif not os.path.isfile(path):  # noqa: PTH113
        return None
    splits = open_dataset(path, IMAGE_RECORDS, SkipLog())
    dataset = splits.train if splits.test is None else splits.test
    return None if dataset.kind == "files" else dataset


def image_of(record: Record) -> LoadedImage:
    """The image in a record.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    pixels = pixels_of(record)
    if isinstance(pixels, Image.Image):
        values = from_bytes(pixels)
    else:
        values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).unsqueeze(0)
    alpha = (values[:, RGBA - 1 :] + 1) / 2 if values.shape[1] == RGBA else None
    colors = values[:, : RGBA - 1]
    return LoadedImage(colors if colors.shape[1] != 1 else colors.expand(-1, RGBA - 1, -1, -1), alpha)


def digest_of_images(dataset: Dataset, numbers: Sequence[int]) -> str:
    """SHA-256 over keys and contents of images; of those that cannot be read, over the reason."""
    whole = hashlib.sha256()
    for number in numbers:
        try:
            content = bytes_of(dataset.read(number))
        except VaekitError as error:
            content = str(error).encode("utf-8", "backslashreplace")
        whole.update(dataset.key(number).encode("utf-8", "backslashreplace") + b"\n")
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


def bytes_of(record: Record) -> bytes:
    """The content of a record of a container.

    Raises:
        BadItem: it cannot be read.
    """
    match record:
        case BytesRecord():
            return record.content()
        case ArrayRecord():
            return f"{record.values.dtype.str}{record.values.shape}".encode() + record.values.tobytes()
    raise not_an_image(record)


def side_of(geometry: Geometry, options: MeasureOptions) -> int | None:
    """The side of square images in an evaluation; None for images in their own size."""
    return None if options.as_is else options.size or (geometry.size[0] if geometry.size else SIZE)


def named(folder: Path) -> dict[str, Path]:
    """The images in and below a folder by their names in it, with slashes. Bytes that are not UTF-8 are escaped.

    Raises:
        NotFound: there is no such folder, or no image in it.
    """
    base = folder if folder.is_dir() else folder.parent
    return {
        os.fsencode(path.relative_to(base).as_posix()).decode(errors="backslashreplace"): path
        for path in find_images([folder])
    }
