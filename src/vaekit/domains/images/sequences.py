"""Sequences of images: bring images to one size, and write strips and animations."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.domains.domain import SequenceWriter
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.read import LoadedImage
from vaekit.domains.images.write import to_bytes, write_8_bit, write_image
from vaekit.errors import CannotWrite, printable
from vaekit.metrics.image.color import as_rgb, split_alpha
from vaekit.optional import require

STRIP_COLUMNS = 9
"""The maximum number of images in a strip; of more, this many are chosen at equal distances."""
MILLISECONDS = 80
"""The duration of one frame."""
PAUSE = 8
"""Frames for which the first and the last image are shown."""
SHEET_COLUMNS = 8
MP4 = "mp4"
DEFAULT_ANIMATION = "webp"
Frames = Sequence[Image.Image]


def resized(image: LoadedImage, size: tuple[int, int]) -> LoadedImage:
    """The image enlarged or reduced until it covers a size (height, width), cropped at the center."""
    if (image.height, image.width) == size:
        return image
    height, width = size
    fit = partial(ImageOps.fit, size=(width, height), method=Image.Resampling.BICUBIC)
    pixels = from_bytes(fit(Image.fromarray(to_bytes(image.pixels))))
    alpha = None
    if image.alpha is not None:
        opacity = Image.fromarray(to_bytes(image.alpha * 2 - 1)[..., 0])
        alpha = (from_bytes(fit(opacity))[:, :1] + 1) / 2
    return LoadedImage(pixels, alpha, (*image.notes, f"resized and cropped to {width}x{height}"))


def strip(frames: Frames) -> Image.Image:
    """Images of one size side by side."""
    count = min(len(frames), STRIP_COLUMNS)
    chosen = torch.linspace(0, len(frames) - 1, count).round().int().tolist()
    return Image.fromarray(np.concatenate([np.asarray(frames[i]) for i in chosen], axis=1))


def write_grid(rows: Iterable[Sequence[Tensor]], path: Path) -> Path:
    """Write rows of images (1, c, h, w) as one image. Rows that are made one after the other are kept in 8 bits.

    Raises:
        CannotWrite: the disk is full, or the image is too large for its format.
    """
    kept = [np.concatenate([to_bytes(as_rgb(each)) for each in row], axis=1) for row in rows]
    write_8_bit(path, Image.fromarray(np.concatenate(kept)))
    return path


def write_many(images: Iterable[Tensor], folder: Path, name: str) -> list[Path]:
    """Write images (1, c, h, w) as `name-0001.png` and so on, and the first ones together as `name.png`."""
    first: list[Tensor] = []
    paths = [folder / f"{name}.png"]
    for number, image in enumerate(images, start=1):
        paths.append(folder / f"{name}-{number:04d}.png")
        colors, alpha = split_alpha(image)
        write_image(paths[-1], as_rgb(colors), alpha=alpha)
        if len(first) < SHEET_COLUMNS**2:
            first.append(as_rgb(image))
    write_image(paths[0], sheet(first))
    return paths


def sheet(images: Sequence[Tensor]) -> Tensor:
    """Images (1, 3, h, w) in nearly as many rows as columns, at most 8, white at the end: (1, 3, rows, columns)."""
    columns = min(math.isqrt(len(images) - 1) + 1, SHEET_COLUMNS)
    blank = [torch.ones_like(images[0])] * (-len(images) % columns)
    every = [*images, *blank]
    return torch.cat([torch.cat(every[i : i + columns], dim=3) for i in range(0, len(every), columns)], dim=2)


def sequence_writer(animation: str) -> SequenceWriter:
    """A function that writes images (1, c, h, w) as a strip, `name.png`, and as an animation forth and back, such as
    `name.webp`.

    Args:
        animation: of `ANIMATIONS`.

    Raises:
        CannotWrite: there is no such format.
        MissingPackage: MP4 needs PyAV.
    """
    write_animation = ANIMATIONS.get(animation)
    if write_animation is None:
        raise CannotWrite(
            f"There is no animation format {printable(animation)!r}.", f"Expected {', '.join(ANIMATIONS)}.", ""
        )
    if animation == MP4:
        require("av", "write MP4", "video")

    def write(images: Iterable[Tensor], folder: Path, name: str) -> list[Path]:
        paths = [folder / f"{name}.png", folder / f"{name}.{animation}"]
        frames = [Image.fromarray(to_bytes(as_rgb(image))) for image in images]
        write_8_bit(paths[0], strip(frames))
        first, last = ([frame] * (PAUSE - 1) for frame in (frames[0], frames[-1]))
        write_animation([*first, *frames, *last, *frames[-2:0:-1]], paths[1])
        return paths

    return write


def _write_webp(frames: Frames, path: Path) -> None:
    _save(frames, path, "WEBP", quality=90, method=2)


def _write_gif(frames: Frames, path: Path) -> None:
    _save(frames, path, "GIF")


def _save(frames: Frames, path: Path, name: str, **options: int) -> None:
    with atomic_file(path) as part:
        try:
            frames[0].save(
                part, name, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, **options
            )
        except (ValueError, RuntimeError, OverflowError, MemoryError) as error:  # an image too large for its format
            raise cannot_write(path, error) from error


def _write_mp4(frames: Frames, path: Path) -> None:
    """Write H.264, which requires an even number of rows and columns: an odd last one is cropped."""
    av = require("av", "write MP4", "video")
    width, height = (side // 2 * 2 for side in frames[0].size)
    with atomic_file(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(1000 / MILLISECONDS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            encoded_frame = av.VideoFrame.from_image(frame.crop((0, 0, width, height)))
            container.mux(stream.encode(encoded_frame))
        container.mux(stream.encode())


ANIMATIONS: Mapping[str, Callable[[Frames, Path], None]] = {"webp": _write_webp, "gif": _write_gif, MP4: _write_mp4}
