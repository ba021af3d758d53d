"""One picture file through an engine and back to a file, measured on the way."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.domains.images.channels import as_rgb, for_vae
from vaekit.domains.images.reading import read_picture
from vaekit.domains.images.writing import over_white, side_by_side, to_bytes, write_picture
from vaekit.metrics.colour import colour_shift
from vaekit.metrics.psnr import psnr
from vaekit.metrics.ssim import ssim
from vaekit.nets.config import compression
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


def round_trip(engine: Engine, source: Path, target: Path, compare: bool = False) -> RoundTrip:
    """Reconstruct a picture file; with `compare`, also write `<target>.side-by-side.png`.

    What is compared is what the VAE was given: for one of grey pictures, the picture in grey.

    Raises:
        BadPicture, NotFound: the file cannot be read, or the VAE gave values that are not finite.
        CannotWrite: the result cannot be written.
    """
    picture = read_picture(source)
    pixels, notes = for_vae(picture, engine.config.image_channels)
    started = time.perf_counter()
    latent = engine.encode(pixels).mode
    result = engine.decode(latent, (picture.height, picture.width))
    seconds = time.perf_counter() - started
    shown, original = (as_written(as_rgb(values)) for values in (result, pixels))
    write_picture(target, shown, like=picture)
    comparison = target.with_suffix(".side-by-side.png") if compare else None
    if comparison is not None:
        panels = [visible(pixels, picture.alpha) for pixels in (original, shown)]
        write_picture(comparison, side_by_side(panels, ["original", "reconstruction"]))
    return RoundTrip(
        picture=source,
        output=target,
        side_by_side=comparison,
        width=picture.width,
        height=picture.height,
        latent_shape=tuple(latent.shape[1:]),
        compression=compression(engine.config),
        psnr=psnr(original, shown).item(),
        ssim=ssim(original, shown).item(),
        colour_shift=tuple(colour_shift(original, shown)[0].tolist()),
        seconds=seconds,
        notes=notes,
    )


def visible(pixels: Images, alpha: Tensor | None) -> Images:
    """A picture as a person sees it: what is transparent shows white instead of the colours hidden under it."""
    return pixels if alpha is None else over_white(pixels, alpha)


def as_written(pixels: Images) -> Images:
    """A picture (1, 3, h, w) with its values where an 8-bit file has them."""
    levels: Tensor = torch.from_numpy(to_bytes(pixels)).permute(2, 0, 1).unsqueeze(0)
    return levels.float().div(127.5).sub(1)
