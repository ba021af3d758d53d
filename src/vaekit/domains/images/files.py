"""Image files and latent files through an engine: the stages of `reconstruct`, `encode` and `decode` for images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.latent_files import LatentFile, LatentOrigin, check_readable, load_latent, save_latent
from vaekit.distributions import Posterior
from vaekit.domains.files import (
    ChangeLatents,
    DecodedResult,
    EncodedResult,
    FileResult,
    side_by_side_path,
    unchanged,
)
from vaekit.domains.finite_results import check_finite
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.correction_files import SavedCorrection, correction_of
from vaekit.domains.images.exposure import ABSOLUTE, Exposure
from vaekit.domains.images.read import RGBA, LoadedImage, find_images, for_vae, read_image
from vaekit.domains.images.size_check import size_check
from vaekit.domains.images.write import PAIR, side_by_side, to_bytes, write_image
from vaekit.metrics.image.color import as_rgb, color_shift, over_white, split_alpha
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ssim import ssim
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine
from vaekit.shapes import Images

NO_ALPHA = "transparency dropped"


@dataclass(frozen=True)
class RoundTrip:
    """One image that was encoded and decoded."""

    image: Path
    output: Path
    side_by_side: Path | None
    width: int
    height: int
    latent_shape: tuple[int, ...]
    """Channels, rows, columns."""
    compression: float
    """Values of the image per value of the latent, without padding: 48 for f8 with 4 channels."""
    psnr: float
    """dB, between 8-bit images; infinite for equal ones."""
    ssim: float
    color_shift: tuple[float, ...]
    """Mean of result minus original for red, green and blue, in levels of 255."""
    seconds: float
    """Encode and decode, without reading and writing."""
    notes: tuple[str, ...]
    """How the image was changed on reading, and to suit the VAE."""

    @property
    def source(self) -> Path:
        """The image file."""
        return self.image

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {
            "image": self.image.name,
            "size": f"{self.width}x{self.height}",
            "latent": "x".join(map(str, self.latent_shape)),
            "fewer": f"{self.compression:.0f}x",
            "PSNR": f"{self.psnr:.2f} dB",
            "SSIM": f"{self.ssim:.3f}",
            "shift R G B": " ".join(f"{shift:+.1f}" for shift in self.color_shift),
            "time": f"{self.seconds:.2f} s",
        }


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image, the input of the VAE and its output, before anything is written or measured."""

    image: LoadedImage
    given: Images
    """(1, c, h, w) in [-1, 1], in the channels of the VAE."""
    result: Float[Tensor, "b c rows columns"]
    """The same shape, or larger if the decoder upscales; not clamped."""
    latent_shape: tuple[int, ...]
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class EncodedImage(EncodedResult):
    """One image that was encoded into a latent file."""

    image: Path
    width: int
    height: int

    @property
    def source(self) -> Path:
        """The image file."""
        return self.image

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.output.name, "image": f"{self.width}x{self.height}", **self.latent_cells()}


@dataclass(frozen=True)
class DecodedLatent(DecodedResult):
    """One latent file that was decoded into an image."""

    width: int
    height: int

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"image": self.output.name, "size": f"{self.width}x{self.height}"}


Encoded = tuple[LoadedImage, Posterior, tuple[str, ...]]
Decoded = tuple[LatentFile, Images, str | None]


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files and the engine that they go through; see `ItemFiles`."""

    engine: Engine
    correction: SavedCorrection | None = None
    exposure: Exposure = ABSOLUTE
    """Of the images that the VAE was trained on."""
    files: ClassVar[str] = "images"

    def corrected(self, name: str, models: Sequence[Path] | None) -> "ImageFiles":
        """The same with the color correction of the VAE."""
        return replace(self, correction=correction_of(name, self.engine.vae, models))

    def find(self, paths: Sequence[Path]) -> list[Path]:
        return find_images(paths)

    def size(self, path: Path) -> tuple[int, ...]:
        """Rows and columns of an image file, upright."""
        image = read_image(path, size_check(self.engine))
        return image.height, image.width

    def reconstruct(
        self, outputs: Mapping[Path, Path], side_by_side: bool, change: ChangeLatents = unchanged
    ) -> Stages[Path, Any, Any, FileResult]:
        return round_trip_stages(self.engine, outputs, side_by_side, self.correction, change, self.exposure)

    def encode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        return encode_stages(self.engine, origin, outputs, self.exposure)

    def decode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        return decode_stages(self.engine, origin, outputs, self.correction, self.exposure)


def round_trip_stages(
    engine: Engine,
    targets: Mapping[Path, Path],
    compare: bool = False,
    correction: SavedCorrection | None = None,
    change: ChangeLatents = unchanged,
    exposure: Exposure = ABSOLUTE,
) -> Stages[Path, LoadedImage, DecodedImage, RoundTrip]:
    """Reconstruct image files, each into the file that `targets` names for it.

    With `compare`, `<target>.side-by-side.png` is written too. What is compared is what the VAE was given: for one of
    gray images, the image in gray. With a `correction`, colors of the result are corrected before it is written
    and measured, and its notes say so. Images weigh their pixels.

    Raises:
        BadItem, NotFound: the file cannot be read, or the VAE gave values that are not finite.
        TooLittleMemory: it needs more memory than the plan allows; large images are refused by their header.
        CannotWrite: the result cannot be written.
    """
    return Stages(
        partial(read_image, check=size_check(engine)),
        lambda _, image: reconstructed(engine, image, correction, change, exposure),
        lambda source, trip: written(trip, source, targets[source], engine.geometry.compression, compare),
        pixel_count,
    )


def reconstructed(
    engine: Engine,
    image: LoadedImage,
    correction: SavedCorrection | None = None,
    change: ChangeLatents = unchanged,
    exposure: Exposure = ABSOLUTE,
) -> DecodedImage:
    """Encode, change the latents, decode, and correct the colors."""
    pixels, notes = for_vae(image, engine.geometry)
    started = time.perf_counter()
    latent = change(engine.encode(exposure.apply(pixels)).mode)
    result = exposure.undo(engine.decode(latent, (image.height, image.width)), pixels)
    seconds = time.perf_counter() - started
    check_finite(result, engine)
    if correction is not None:
        result, notes = corrected(result, correction), (*notes, correction.about)
    upscale = engine.geometry.upscale
    if upscale > 1:
        notes = (*notes, f"decoded at {upscale} times the size, and averaged to that of the image to be measured")
    return DecodedImage(image, pixels, result, tuple(latent.shape[1:]), seconds, notes)


def written(trip: DecodedImage, source: Path, target: Path, compression: float, compare: bool) -> RoundTrip:
    """Write the result and measure it."""
    image = trip.image
    upscale = trip.result.shape[2] // image.height
    shown, original = (as_written(as_rgb(values)) for values in (trip.result, trip.given))
    colors, alpha = split_alpha(trip.result)
    if upscale > 1 and alpha is None and image.alpha is not None:
        colors, alpha = shown, F.interpolate(image.alpha, scale_factor=upscale)
    write_image(target, shown if alpha is None else colors, like=image, alpha=alpha)
    shown = shown if upscale == 1 else F.avg_pool2d(shown, upscale)
    comparison = side_by_side_path(target) if compare else None
    if comparison is not None:
        opacity = image.alpha if alpha is None else None  # RGBA is laid over white already
        panels = [visible(pixels, opacity) for pixels in (original, shown)]
        write_image(comparison, side_by_side(panels, PAIR))
    return RoundTrip(
        image=source,
        output=target,
        side_by_side=comparison,
        width=image.width,
        height=image.height,
        latent_shape=trip.latent_shape,
        compression=compression,
        psnr=psnr(original, shown).item(),
        ssim=ssim(original, shown).item(),
        color_shift=tuple(color_shift(original, shown)[0].tolist()),
        seconds=trip.seconds,
        notes=trip.notes,
    )


def corrected(pixels: Images, correction: SavedCorrection) -> Images:
    """Images in RGB or RGBA with a color correction applied; alpha is not changed."""
    colors, alpha = split_alpha(pixels)
    if alpha is None:
        return correction.correction.apply(as_rgb(pixels))
    return torch.cat([correction.correction.apply(colors), pixels[:, 3:]], dim=1)


def pixel_count(image: LoadedImage) -> int:
    """What an image weighs."""
    return image.height * image.width


def visible(pixels: Images, alpha: Tensor | None) -> Images:
    """An image as a person sees it: what is transparent shows white instead of the colors hidden under it."""
    return pixels if alpha is None else over_white(pixels, alpha)


def as_written(pixels: Images) -> Images:
    """An image (1, 3, h, w) with its values where an 8-bit file has them."""
    return from_bytes(Image.fromarray(to_bytes(pixels)))


def encode_stages(
    engine: Engine, origin: LatentOrigin, outputs: Mapping[Path, Path], exposure: Exposure = ABSOLUTE
) -> Stages[Path, LoadedImage, Encoded, EncodedImage]:
    """Encode image files, each into the latent file that `outputs` names for it. Images weigh their pixels.

    Raises:
        BadItem, NotFound: the file cannot be read, or the latents are non-finite.
        CannotWrite: the result cannot be written.
    """

    def run(_: Path, image: LoadedImage) -> Encoded:
        pixels, notes = for_vae(image, engine.geometry)
        posterior = engine.encode(exposure.apply(pixels))
        check_finite(posterior.mode, engine)
        return image, posterior, notes

    def write(path: Path, encoded: Encoded) -> EncodedImage:
        image, posterior, notes = encoded
        save_latent(outputs[path], LatentFile(posterior, origin, (image.height, image.width)))
        mean = posterior.mode
        return EncodedImage(
            image=path,
            output=outputs[path],
            width=image.width,
            height=image.height,
            latent_shape=tuple(mean.shape[1:]),
            mean=mean.mean().item(),
            std=mean.std(correction=0).item(),
            notes=notes if image.alpha is None or engine.geometry.channels == RGBA else (*notes, NO_ALPHA),
        )

    return Stages(partial(read_image, check=size_check(engine)), run, write, pixel_count)


def decode_stages(
    engine: Engine,
    origin: LatentOrigin,
    outputs: Mapping[Path, Path],
    correction: SavedCorrection | None = None,
    exposure: Exposure = ABSOLUTE,
) -> Stages[Path, LatentFile, Decoded, DecodedLatent]:
    """Decode latent files, each into the image that `outputs` names for it. Latents weigh the pixels of their image.

    Raises:
        BadLatent, NotFound: the file cannot be read.
        LatentMismatch: it was made in another latent space.
        BadItem: the VAE gave non-finite values.
        CannotWrite: the result cannot be written.
    """

    def run(path: Path, latent: LatentFile) -> Decoded:
        caution = check_readable(path, latent.space, origin)  # names both VAEs, if one takes no images
        latent.space.geometry.require_axes(2, "images")
        pixels = exposure.undo(engine.decode(latent.posterior.mean, latent.size))
        check_finite(pixels, engine)
        return latent, pixels if correction is None else corrected(pixels, correction), caution

    def write(path: Path, decoded: Decoded) -> DecodedLatent:
        latent, pixels, caution = decoded
        colors, alpha = split_alpha(pixels)
        write_image(outputs[path], as_rgb(pixels) if alpha is None else colors, alpha=alpha)
        height, width = engine.geometry.decoded_size(latent.size)
        return DecodedLatent(path, outputs[path], caution, width, height)

    return Stages(load_latent, run, write, lambda latent: prod(latent.size))
