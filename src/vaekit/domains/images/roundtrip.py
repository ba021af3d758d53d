"""Picture files through an engine and back to files, measured on the way."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from vaekit.domains.images.channels import as_rgb, for_vae
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.correction_files import SavedCorrection
from vaekit.domains.images.read import LoadedImage, read_image
from vaekit.domains.images.write import over_white, side_by_side, to_bytes, write_image
from vaekit.metrics.image.color import colour_shift
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ssim import ssim
from vaekit.nets.config import compression
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine
from vaekit.shapes import Images


@dataclass(frozen=True)
class RoundTrip:
    """What a VAE made of one picture."""

    picture: Path
    output: Path
    side_by_side: Path | None
    width: int
    height: int
    latent_shape: tuple[int, ...]
    """Channels, rows, columns."""
    compression: float
    """Numbers in the picture for each number in the latent, padding left aside: 48 for f8 with 4 channels."""
    psnr: float
    """dB, between 8-bit pictures; infinite for equal ones."""
    ssim: float
    colour_shift: tuple[float, ...]
    """Mean of result minus original for red, green and blue, in levels of 255."""
    seconds: float
    """Encode and decode, without reading and writing."""
    notes: tuple[str, ...]
    """What was done to the file's values on reading, and to suit the VAE."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A picture, what the VAE was given of it, and what came back, before anything is written or measured."""

    picture: LoadedImage
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
    """Reconstruct picture files, each into the file that `targets` names for it.

    With `compare`, `<target>.side-by-side.png` is written too. What is compared is what the VAE was given: for one of
    grey pictures, the picture in grey. With a `correction`, colours of the result are corrected before it is written
    and measured, and its notes say so. Pictures weigh their pixels.

    Raises:
        BadPicture, NotFound: the file cannot be read, or the VAE gave values that are not finite.
        CannotWrite: the result cannot be written.
    """
    return Stages(
        read_image,
        lambda _, picture: reconstructed(engine, picture, correction),
        lambda source, trip: written(trip, source, targets[source], compression(engine.config), compare),
        pixel_count,
    )


def reconstructed(engine: Engine, picture: LoadedImage, correction: SavedCorrection | None = None) -> DecodedImage:
    """Encode, decode, and correct the colours."""
    pixels, notes = for_vae(picture, engine.config.image_channels)
    started = time.perf_counter()
    latent = engine.encode(pixels).mode
    result = engine.decode(latent, (picture.height, picture.width))
    seconds = time.perf_counter() - started
    if correction is not None:
        result, notes = correction.correction.apply(as_rgb(result)), (*notes, correction.about)
    return DecodedImage(picture, pixels, result, tuple(latent.shape[1:]), seconds, notes)


def written(trip: DecodedImage, source: Path, target: Path, compression: float, compare: bool) -> RoundTrip:
    """Write the result and measure it."""
    picture = trip.picture
    shown, original = (as_written(as_rgb(values)) for values in (trip.result, trip.given))
    write_image(target, shown, like=picture)
    comparison = target.with_suffix(".side-by-side.png") if compare else None
    if comparison is not None:
        panels = [visible(pixels, picture.alpha) for pixels in (original, shown)]
        write_image(comparison, side_by_side(panels, ["original", "reconstruction"]))
    return RoundTrip(
        picture=source,
        output=target,
        side_by_side=comparison,
        width=picture.width,
        height=picture.height,
        latent_shape=trip.latent_shape,
        compression=compression,
        psnr=psnr(original, shown).item(),
        ssim=ssim(original, shown).item(),
        colour_shift=tuple(colour_shift(original, shown)[0].tolist()),
        seconds=trip.seconds,
        notes=trip.notes,
    )


def pixel_count(picture: LoadedImage) -> int:
    """What a picture weighs."""
    return picture.height * picture.width


def visible(pixels: Images, alpha: Tensor | None) -> Images:
    """A picture as a person sees it: what is transparent shows white instead of the colours hidden under it."""
    return pixels if alpha is None else over_white(pixels, alpha)


def as_written(pixels: Images) -> Images:
    """A picture (1, 3, h, w) with its values where an 8-bit file has them."""
    return from_bytes(Image.fromarray(to_bytes(pixels)))
