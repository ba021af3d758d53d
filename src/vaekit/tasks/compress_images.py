"""Compress items with losses by a VAE with a hyperprior, one file each, and restore them."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.codec.hyper_coding import decode_values, encode_values
from vaekit.codec.image_file import FINGERPRINT_BYTES, LARGEST_SIDE, ImageFile, is_image_file, read_image_file
from vaekit.codec.scale_tables import STEPS_PER_OCTAVE
from vaekit.distributions.stepped import split_step
from vaekit.errors import ArchiveMismatch, BadItem, BadPlan, CannotWrite
from vaekit.families.hyperprior.net import Encoder, log_step_of
from vaekit.metrics.image.psnr import psnr
from vaekit.nets.hyperprior import Hyperprior
from vaekit.tasks.batch import Progress, no_progress, output_paths
from vaekit.tasks.model import OpenModel

ENDING = ".vk"
QUALITIES = (0.0, 100.0)
SEARCHES = 12
"""Steps of the search for a number of bytes: one quality of 4,096."""


@dataclass(frozen=True)
class Rate:
    """How finely images are coded: a quality, or the number of bytes of the largest file that is allowed."""

    quality: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class CompressedImage:
    """A file that was written."""

    source: Path
    output: Path
    width: int
    height: int
    size: int
    """Bytes of the file."""
    quality: float
    bits_per_pixel: float
    """Of the whole file."""
    psnr: float
    """dB, between 8-bit images."""
    notes: tuple[str, ...]
    """How the image was changed on reading."""


@dataclass(frozen=True, eq=False)
class Codec:
    """A VAE that codes images with losses."""

    model: OpenModel
    encoder: Encoder
    prior: Hyperprior
    """On the CPU."""

    @classmethod
    def of(cls, model: OpenModel) -> "Codec | None":
        """The codec that a VAE is; None for another VAE."""
        encoder, prior = model.engine.vae.encoder, model.engine.vae.to_prior
        if not isinstance(encoder, Encoder) or not isinstance(prior, Hyperprior):
            return None
        return cls(model, encoder, copy.deepcopy(prior).cpu().eval())

    def encoded(self, x: Tensor, quality: float) -> ImageFile:
        """An image (1, c, h, w) in [-1, 1] as the content of a file."""
        step_code = round(log_step_of(quality) * STEPS_PER_OCTAVE)
        self.encoder.log_step.fill_(step_code / STEPS_PER_OCTAVE)
        values, _ = split_step(self.model.engine.encode(x).mode.cpu().float())
        fingerprint = self.model.origin.fingerprint[: 2 * FINGERPRINT_BYTES]
        size = (x.shape[2], x.shape[3])
        return ImageFile(fingerprint, size, step_code, encode_values(self.prior, values, step_code))

    def decoded(self, file: ImageFile) -> Tensor:
        """The image (1, c, h, w) in [-1, 1] of the content of a file.

        Raises:
            BadArchive: it is damaged.
        """
        rows, columns = self.model.engine.geometry.latent_size(file.size)
        values = decode_values(self.prior, file.coded, (rows, columns), file.step_code).float()
        step = torch.full_like(values[:, :1], file.step_code / STEPS_PER_OCTAVE)
        return self.model.decode(torch.cat([values, step], dim=1), file.size).clamp(-1, 1)


def compress_images(
    codec: Codec, data: Path, out: Path, rate: Rate, verify: bool = False, progress: Progress = no_progress
) -> list[CompressedImage]:
    """Compress an image into a file, or all images of a folder into a folder of files.

    Args:
        codec: the VAE.
        data: the image, or the folder.
        out: the file, or the folder.
        rate: the quality, or the number of bytes.
        verify: read each file again, and compare what it gives, before it has its name.
        progress: called with the number of finished images and of all.

    Raises:
        NotFound, BadItem: an image cannot be read, or is too large for the format.
        BadPlan: no quality gives as few bytes, or the quality is not within 0 to 100.
        BadArchive: a file does not give the same image again.
        CannotWrite: the disk is full, or the like.
        MissingPackage: constriction is not installed.
    """
    if rate.quality is not None and not QUALITIES[0] <= rate.quality <= QUALITIES[1]:
        raise BadPlan(f"The quality is {rate.quality:g}.", "Expected 0 to 100.", "")
    paths = codec.model.items.find([data])
    outputs = output_paths(paths, out, ENDING) if data.is_dir() else {data: out}
    if data.is_dir() and out.is_file():
        raise CannotWrite(f"{out} is a file.", f"Expected a folder for the images of {data}.", "")
    results = []
    for number, path in enumerate(paths, start=1):
        results.append(_compress(codec, path, outputs[path], rate, verify))
        progress(number, len(paths))
    return results


def _compress(codec: Codec, path: Path, out: Path, rate: Rate, verify: bool) -> CompressedImage:
    loaded = codec.model.domain.read_all([path], codec.model.schema, codec.model.engine.geometry)
    if max(loaded.x.shape[2:]) > LARGEST_SIDE:
        raise BadItem(f"{path.name} is larger than {LARGEST_SIDE:,} pixels along a side.", "", "Cut it into parts.")
    quality, file = _at_rate(codec, path, loaded.x, rate)
    content = file.to_bytes()
    with atomic_file(out) as temporary:
        temporary.write_bytes(content)
        again = codec.decoded(read_image_file(temporary) if verify else file)
    height, width = file.size
    return CompressedImage(
        path,
        out,
        width,
        height,
        len(content),
        round(quality, 2),
        8 * len(content) / (width * height),
        psnr(in_levels(loaded.x), in_levels(again)).item(),
        tuple(note for notes in loaded.notes.values() for note in notes),
    )


def _at_rate(codec: Codec, path: Path, x: Tensor, rate: Rate) -> tuple[float, ImageFile]:
    """The content of the file at a rate, and its quality."""
    if rate.bytes is None:
        quality = rate.quality if rate.quality is not None else sum(QUALITIES) / 2
        return quality, codec.encoded(x, quality)
    low, high = QUALITIES
    found = (low, codec.encoded(x, low))
    if len(found[1].to_bytes()) > rate.bytes:
        raise BadPlan(
            f"{path.name} takes {len(found[1].to_bytes()):,} bytes at the lowest quality, more than {rate.bytes:,}.",
            "",
            "Allow more bytes, or make the image smaller.",
        )
    for _ in range(SEARCHES):
        middle = (low + high) / 2
        file = codec.encoded(x, middle)
        if len(file.to_bytes()) <= rate.bytes:
            low, found = middle, (middle, file)
        else:
            high = middle
    return found


def decompress_images(codec: Codec, path: Path, out: Path, progress: Progress = no_progress) -> Sequence[Path]:
    """Restore the image of a file, or the images of all files in a folder.

    Args:
        codec: the VAE.
        path: the file, or the folder.
        out: the image file, whose ending names the format, or a folder.
        progress: called with the number of finished images and of all.

    Raises:
        NotFound, CannotRead, BadArchive: a file is missing, cannot be read, or is damaged.
        ArchiveMismatch: it was compressed with another VAE.
        CannotWrite: the disk is full, or the like.
    """
    paths = sorted(each for each in path.rglob(f"*{ENDING}") if is_image_file(each)) if path.is_dir() else [path]
    ending = codec.model.domain.ending
    outputs = {path: out} if out.suffix and not path.is_dir() else output_paths(paths, out, ending)
    for number, each in enumerate(paths, start=1):
        file = read_image_file(each)
        mine = codec.model.origin.fingerprint[: 2 * FINGERPRINT_BYTES]
        if file.fingerprint != mine:
            raise ArchiveMismatch(
                f"{each.name} was compressed with another VAE, {file.fingerprint[:12]}.",
                f"This one is {mine[:12]}.",
                "Name the one that compressed it: --vae.",
            )
        image = codec.decoded(file)
        outputs[each].parent.mkdir(parents=True, exist_ok=True)
        codec.model.domain.write(codec.model.schema.to_items(image), outputs[each], codec.model.schema)
        progress(number, len(paths))
    return [outputs[each] for each in paths]


def in_levels(x: Tensor) -> Tensor:
    """Values in [-1, 1], rounded to those of 8 bits."""
    return torch.round((x.clamp(-1, 1) + 1) * 127.5) / 127.5 - 1


def bits_per_pixel(results: Sequence[CompressedImage]) -> float:
    """Of several files together."""
    return 8 * sum(each.size for each in results) / max(1, sum(each.width * each.height for each in results))


def mean_psnr(results: Sequence[CompressedImage]) -> float:
    """The mean of finite values in dB; infinite if there are none."""
    values = [each.psnr for each in results if math.isfinite(each.psnr)]
    return sum(values) / len(values) if values else math.inf
