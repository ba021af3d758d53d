"""Latents of images as fp16, int8 and coded: bits per value, and what storing costs after the decoder.

    python bench/latent_archive.py IMAGES --vae builtin taesd taesd3 taef2 [--size 512]

Each VAE encodes the images, cropped to squares, once for each dtype of `vaekit cache`. Bits are those of the tensors
of a shard, with their parameters and checksums: of means for each value of a mean, and of log-variances for each of
theirs. The loss is the difference of PSNR of all images together, decoded from latents and from stored latents. Beside
it are the bytes of JPEG, WebP and AVIF (Pillow's defaults) with at least the PSNR of each image as it is decoded from
coded latents, in 8 bits. Then come the items that are read in a second, one at a time, with their log-variances;
latents of 128 x 128 are made of four of 64 x 64.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.fitting import FitOptions
from vaekit.latent_cache.coded_storage import restored_coded, stored_coded
from vaekit.latent_cache.open import LatentCache, open_cache
from vaekit.latent_cache.shard_files import LOG_VARIANCE, MEAN, open_latents
from vaekit.runtime.engine import Engine
from vaekit.tasks.cache import CacheOptions, cache
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

DTYPES = ("fp16", "int8", "coded")
CODECS = {"JPEG": 95, "WEBP": 100, "AVIF": 100}
"""The highest quality of each."""
READS = 20
SIDE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--vae", nargs="+", default=["builtin"])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--codecs", nargs="*", default=list(CODECS))
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.size} x {options.size}", flush=True)
    print("vae       dtype  bits/mean  bits/log-var  kB/image  bits/pixel  PSNR dB  loss dB  items/s  seconds")
    for name in options.vae:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options.images, Path(folder), options.size, options.codecs)


def measure(name: str, images: Path, folder: Path, size: int, codecs: Sequence[str]) -> None:
    """Print the rows of one VAE."""
    model = open_model(ModelOptions(name), EngineOptions(device="cpu"))
    wanted = CacheOptions(FitOptions(size=size, buckets=0), dtype="fp32")
    cache(model, images, folder / "fp32", wanted)
    exact = open_cache(folder / "fp32")
    originals = pixels_of(model, images, exact, wanted)
    best = mean_error(decoded(model.engine, exact), originals)
    label = Path(name).name
    for dtype in DTYPES:
        started = time.perf_counter()
        cache(model, images, folder / dtype, replace(wanted, dtype=dtype))
        seconds = time.perf_counter() - started
        opened = open_cache(folder / dtype)
        results = decoded(model.engine, opened)
        error = mean_error(results, originals)
        bits, nbytes = bits_of(opened)
        pixels = len(opened) * size**2
        log_variance = f"{bits[LOG_VARIANCE]:12.3f}" if LOG_VARIANCE in bits else f"{'-':>12}"
        print(
            f"{label:9} {dtype:5}  {bits[MEAN]:9.3f}  {log_variance}  {nbytes / len(opened) / 1000:8.1f}  "
            f"{8 * nbytes / pixels:10.3f}  {psnr(error):7.2f}  {psnr(best) - psnr(error):7.3f}  "
            f"{read_rate(opened):7.0f}  {seconds:7.1f}",
            flush=True,
        )
    for codec in codecs:
        if codec in Image.registered_extensions().values():
            sizes = [least_bytes(codec, x, goal) for x, goal in zip(originals, results, strict=True)]
            rate = 8 * sum(sizes) / pixels
            print(f"  {codec:5} with that PSNR: {np.mean(sizes) / 1000:.1f} kB/image, {rate:.3f} bits/pixel")
    large_latents(opened, exact)


def pixels_of(model: OpenModel, images: Path, exact: LatentCache, options: CacheOptions) -> list[Tensor]:
    """The images as the VAE takes them, in the order of a cache."""
    fitting = model.domain.fitting(model.schema, model.engine.geometry, options.fit)
    dataset = model.domain.open(images, SkipLog()).train
    return [fitting.fit([dataset.read(i)], item.bucket).x for i, item in enumerate(exact.items)]


def decoded(engine: Engine, opened: LatentCache) -> list[Tensor]:
    """The decoded images of a cache, (1, 3, h, w) each."""
    return [engine.decode(opened.read(i).mean[None]) for i in range(len(opened))]


def mean_error(results: Sequence[Tensor], originals: Sequence[Tensor]) -> float:
    """The mean squared error of images."""
    return float(np.mean([float((a - b).double().square().mean()) for a, b in zip(results, originals, strict=True)]))


def psnr(error: float) -> float:
    """PSNR of values from -1 to 1, in dB."""
    return float(10 * np.log10(4 / error))


def bits_of(opened: LatentCache) -> tuple[Mapping[str, float], int]:
    """The bits for each value of a mean and of a log-variance, and the bytes of all."""
    nbytes: dict[str, int] = {}
    for record in opened.shards:
        for name, tensor in open_latents(opened.folder, record, opened.description).items():
            kind = LOG_VARIANCE if name.startswith(LOG_VARIANCE) else MEAN
            nbytes[kind] = nbytes.get(kind, 0) + tensor.nbytes
    values = len(opened) * opened.read(0).mean.numel()
    return {kind: 8 * each / values for kind, each in nbytes.items()}, sum(nbytes.values())


def read_rate(opened: LatentCache) -> float:
    """Items that are read in a second, one at a time."""
    for number in range(len(opened)):
        opened.read(number)
    started = time.perf_counter()
    for number in range(READS):
        opened.read(number % len(opened))
    return READS / (time.perf_counter() - started)


def least_bytes(codec: str, x: Tensor, result: Tensor) -> int:
    """The bytes of the lowest quality of a codec with at least the PSNR of a result."""
    original, goal = in_bytes(x), squared(in_bytes(result), in_bytes(x))
    low, high = 0, CODECS[codec]
    while low < high:
        middle = (low + high) // 2
        if squared(written(codec, original, middle)[1], original) <= goal:
            high = middle
        else:
            low = middle + 1
    return written(codec, original, low)[0]


def written(codec: str, original: NDArray[np.uint8], quality: int) -> tuple[int, NDArray[np.uint8]]:
    """The size of a file, and what it holds."""
    file = io.BytesIO()
    Image.fromarray(original).save(file, codec, quality=quality)
    with Image.open(file) as image:
        return len(file.getvalue()), np.asarray(image.convert("RGB"))


def in_bytes(x: Tensor) -> NDArray[np.uint8]:
    """An image (1, 3, h, w) from -1 to 1 as (h, w, 3)."""
    values: NDArray[np.uint8] = ((x[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return values


def squared(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean squared difference."""
    return float(np.square(one.astype(np.float64) - other).mean())


def large_latents(coded: LatentCache, exact: LatentCache) -> None:
    """Print how fast latents of 128 x 128 are decoded."""
    latents = [exact.read(i).mean for i in range(4)]
    if latents[0].shape[1:] != (SIDE, SIDE):
        return
    large = torch.cat([torch.cat(latents[:2], 2), torch.cat(latents[2:], 2)], 1)[None].repeat(4, 1, 1, 1)
    first = open_latents(coded.folder, coded.shards[0], coded.description)
    tensors = stored_coded("x", large, first["mean_step"].tolist())
    restored_coded(tensors, "x", torch.tensor([0]))
    started = time.perf_counter()
    for number in range(READS):
        restored_coded(tensors, "x", torch.tensor([number % 4]))
    rate = READS / (time.perf_counter() - started)
    print(f"  means of {'x'.join(map(str, large.shape[1:]))}: {rate:.0f} items/s")


if __name__ == "__main__":
    main()
