"""Compress items with losses by a VAE with a hyperprior, one file each, and restore them."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.codec.hyper_coding import constriction, decode_values, encode_values
from vaekit.codec.image_file import FINGERPRINT_BYTES, LARGEST_SIDE, ImageFile, image_file_from, read_image_file
from vaekit.codec.scale_tables import STEPS_PER_OCTAVE
from vaekit.distributions.stepped import split_step
from vaekit.domains.domain import LoadedItems
from vaekit.domains.files import files_among
from vaekit.errors import ArchiveMismatch, BadArchive, BadItem, BadPlan, CannotWrite
from vaekit.metrics.image.psnr import psnr
from vaekit.nets.hyperprior import Hyperprior
from vaekit.nets.transform_coding import Encoder, log_step_of
from vaekit.pipeline import Stages
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files
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

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {
            "image": self.source.name,
            "size": f"{self.width}x{self.height}",
            "quality": f"{self.quality:g}",
            "bytes": f"{self.size:,}",
            "bits per pixel": f"{self.bits_per_pixel:.3f}",
            "PSNR": f"{self.psnr:.2f} dB",
        }


@dataclass(frozen=True)
class RestoredImage:
    """An image that was restored from a file."""

    source: Path
    output: Path
    width: int
    height: int
    notes: tuple[str, ...] = ()

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"image": self.output.name, "size": f"{self.width}x{self.height}"}


@dataclass(frozen=True, eq=False)
class Coded:
    """An image before it is written."""

    file: ImageFile
    quality: float
    psnr: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Codec:
    """A VAE that codes images with losses."""

    model: OpenModel
    encoder: Encoder
    prior: Hyperprior
    """On the CPU."""
    fingerprint: str
    """The first digits of that of the VAE, whose encoder's step changes with the quality."""

    @classmethod
    def of(cls, model: OpenModel) -> "Codec | None":
        """The codec that a VAE is; None for another VAE."""
        encoder, prior = model.engine.vae.encoder, model.engine.vae.to_prior
        if not isinstance(encoder, Encoder) or not isinstance(prior, Hyperprior):
            return None
        fingerprint = model.origin.fingerprint[: 2 * FINGERPRINT_BYTES]
        return cls(model, encoder, copy.deepcopy(prior).cpu().eval(), fingerprint)

    def encoded(self, x: Tensor, quality: float) -> ImageFile:
        """An image (1, c, h, w) in [-1, 1] as the content of a file."""
        step_code = round(log_step_of(quality) * STEPS_PER_OCTAVE)
        self.encoder.log_step.fill_(step_code / STEPS_PER_OCTAVE)
        values, _ = split_step(self.model.engine.encode(x).mode.cpu().float())
        size = (x.shape[2], x.shape[3])
        return ImageFile(self.fingerprint, size, step_code, encode_values(self.prior, values, step_code))

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
) -> Batch[CompressedImage]:
    """Compress an image into a file, or all images of a folder into a folder of files.

    An image fails with BadItem, NotFound or TooLittleMemory if it cannot be read or is too large, with BadPlan if no
    quality gives as few bytes, and with BadArchive if its file does not give the same image again.

    Args:
        codec: the VAE.
        data: the image, or the folder.
        out: the file, or the folder.
        rate: the quality, or the number of bytes.
        verify: read each file again, and compare what it gives, before it has its name.
        progress: called with the number of finished images and of all.

    Raises:
        NotFound: there is no image.
        BadPlan: the quality is not within 0 to 100.
        CannotWrite: results would overwrite an input, or a folder be written to a file.
        MissingPackage: constriction is not installed.
    """
    if rate.quality is not None and not QUALITIES[0] <= rate.quality <= QUALITIES[1]:
        raise BadPlan(f"The quality is {rate.quality:g}.", "Expected 0 to 100.", "")
    constriction()
    paths = codec.model.items.find([data])
    outputs = _outputs(paths, data, out, ENDING)

    def read(path: Path) -> LoadedItems:
        loaded = codec.model.domain.read_all([path], codec.model.schema, codec.model.engine.geometry)
        if max(loaded.x.shape[2:]) > LARGEST_SIDE:
            raise BadItem(f"{path.name} has more than {LARGEST_SIDE:,} pixels along a side.", "", "Cut it into parts.")
        return loaded

    def run(path: Path, loaded: LoadedItems) -> Coded:
        quality, file = _at_rate(codec, path, loaded.x, rate)
        again = codec.decoded(image_file_from(file.to_bytes(), outputs[path].name) if verify else file)
        if verify and not torch.equal(again, codec.decoded(file)):
            raise BadArchive(f"{path.name} does not come back the same.", "", "Report this with the image.")
        notes = tuple(note for notes in loaded.notes.values() for note in notes)
        return Coded(file, quality, psnr(in_levels(loaded.x), in_levels(again)).item(), notes)

    def write(path: Path, coded: Coded) -> CompressedImage:
        content = coded.file.to_bytes()
        with atomic_file(outputs[path]) as temporary:
            temporary.write_bytes(content)
        height, width = coded.file.size
        size, rate = len(content), 8 * len(content) / (width * height)
        facts = (round(coded.quality, 2), rate, coded.psnr, coded.notes)
        return CompressedImage(path, outputs[path], width, height, size, *facts)

    return run_files(paths, Stages(read, run, write, lambda loaded: float(loaded.x.numel())), progress)


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


def decompress_images(codec: Codec, path: Path, out: Path, progress: Progress = no_progress) -> Batch[RestoredImage]:
    """Restore the image of a file, or the images of all files in a folder.

    A file fails with NotFound, CannotRead or BadArchive if it is missing, cannot be read, or is damaged, and with
    ArchiveMismatch if it was compressed with another VAE.

    Args:
        codec: the VAE.
        path: the file, or the folder.
        out: the image file, whose ending names the format, or a folder.
        progress: called with the number of finished images and of all.

    Raises:
        NotFound: the folder has no such files.
        CannotWrite: results would overwrite an input.
        MissingPackage: constriction is not installed.
    """
    constriction()
    paths = files_among([path], [ENDING], "compressed images")
    outputs = _outputs(paths, path, out, codec.model.domain.ending)

    def read(path: Path) -> ImageFile:
        file = read_image_file(path)
        if file.fingerprint != codec.fingerprint:
            raise ArchiveMismatch(
                f"{path.name} was compressed with another VAE, {file.fingerprint[:12]}.",
                f"This one is {codec.fingerprint[:12]}.",
                "Name the one that compressed it: --vae.",
            )
        return file

    def write(path: Path, image: Tensor) -> RestoredImage:
        outputs[path].parent.mkdir(parents=True, exist_ok=True)
        codec.model.domain.write(codec.model.schema.to_items(image), outputs[path], codec.model.schema)
        return RestoredImage(path, outputs[path], image.shape[3], image.shape[2])

    return run_files(paths, Stages(read, lambda _, file: codec.decoded(file), write), progress)


def _outputs(paths: Sequence[Path], data: Path, out: Path, ending: str) -> dict[Path, Path]:
    """The file for each path: `out` itself for a single one, unless it is a folder.

    Raises:
        CannotWrite: a result would overwrite an input, or a folder be written to a file.
    """
    if data.is_dir() and out.is_file():
        raise CannotWrite(f"{out} is a file.", f"Expected a folder for the results of {data}.", "")
    if data.is_dir() or out.is_dir() or not out.suffix:
        return output_paths(paths, out, ending)
    if out.resolve() == data.resolve():
        raise CannotWrite(f"{out} would overwrite the input.", "", "Choose another name.")
    return {data: out}


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
