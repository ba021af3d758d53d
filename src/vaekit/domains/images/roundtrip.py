"""Image files through an engine and back to files, measured on the way."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.correction_files import SavedCorrection
from vaekit.domains.images.read import LoadedImage, for_vae, read_image
from vaekit.domains.images.write import PAIR, over_white, side_by_side, to_bytes, write_image
from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.luma import as_rgb
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ssim import ssim
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine
from vaekit.shapes import Images


@dataclass(frozen=True)
class RoundTrip:
    """What a VAE made of one image."""

    image: Path
    output: Path
    side_by_side: Path | None
    width: int
    height: int
    latent_shape: tuple[int, ...]
    """Channels, rows, columns."""
    compression: float
    """Numbers in the image for each number in the latent, padding left aside: 48 for f8 with 4 channels."""
    psnr: float
    """dB, between 8-bit images; infinite for equal ones."""
    ssim: float
    color_shift: tuple[float, ...]
    """Mean of result minus original for red, green and blue, in levels of 255."""
    seconds: float
    """Encode and decode, without reading and writing."""
    notes: tuple[str, ...]
    """What was done to the file's values on reading, and to suit the VAE."""

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
    """An image, what the VAE was given of it, and what came back, before anything is written or measured."""

    image: LoadedImage
    given: Images
    """(1, c, h, w) in [-1, 1], in the channels of the VAE."""
    result: Images
    """The same shape; not clamped."""
    latent_shape: tuple[int, ...]
    seconds: float
    notes: tuple[str, ...]


def round_trip_stages(
    engine: Engine, targets: Mapping[Path, Path], compare: bool = False, correction: SavedCorrection | None = None
) -> Stages[Path, LoadedImage, DecodedImage, RoundTrip]:
    """Reconstruct image files, each into the file that `targets` names for it.

    With `compare`, `<target>.side-by-side.png` is written too. What is compared is what the VAE was given: for one of
    gray images, the image in gray. With a `correction`, colors of the result are corrected before it is written
    and measured, and its notes say so. Images weigh their pixels.

    Raises:
        BadItem, NotFound: the file cannot be read, or the VAE gave values that are not finite.
        CannotWrite: the result cannot be written.
    """
    return Stages(
        read_image,
        lambda _, image: reconstructed(engine, image, correction),
        lambda source, trip: written(trip, source, targets[source], engine.geometry.compression, compare),
        pixel_count,
    )


def reconstructed(engine: Engine, image: LoadedImage, correction: SavedCorrection | None = None) -> DecodedImage:
    """Encode, decode, and correct the colors."""
    pixels, notes = for_vae(image, engine.geometry)
    started = time.perf_counter()
    latent = engine.encode(pixels).mode
    result = engine.decode(latent, (image.height, image.width))
    seconds = time.perf_counter() - started
    if correction is not None:
        result, notes = correction.correction.apply(as_rgb(result)), (*notes, correction.about)
    return DecodedImage(image, pixels, result, tuple(latent.shape[1:]), seconds, notes)


def written(trip: DecodedImage, source: Path, target: Path, compression: float, compare: bool) -> RoundTrip:
    """Write the result and measure it."""
    image = trip.image
    shown, original = (as_written(as_rgb(values)) for values in (trip.result, trip.given))
    write_image(target, shown, like=image)
    comparison = target.with_suffix(".side-by-side.png") if compare else None
    if comparison is not None:
        panels = [visible(pixels, image.alpha) for pixels in (original, shown)]
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


def pixel_count(image: LoadedImage) -> int:
    """What an image weighs."""
    return image.height * image.width


def visible(pixels: Images, alpha: Tensor | None) -> Images:
    """An image as a person sees it: what is transparent shows white instead of the colors hidden under it."""
    return pixels if alpha is None else over_white(pixels, alpha)


def as_written(pixels: Images) -> Images:
    """An image (1, 3, h, w) with its values where an 8-bit file has them."""
    return from_bytes(Image.fromarray(to_bytes(pixels)))
