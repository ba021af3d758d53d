"""Small image files that tell which one they are: the green of number i is 10 * i."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.datasets.dataset import Dataset, Splits
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.decode import Pixels, pixels_of
from vaekit.domains.images.records import IMAGE_RECORDS


def numbered(number: int, width: int = 12, height: int = 8) -> Image.Image:
    return Image.new("RGB", (width, height), (200, 10 * number, 50))


def encoded(number: int, ending: str = "png", width: int = 12, height: int = 8) -> bytes:
    file = io.BytesIO()
    numbered(number, width, height).save(file, {"jpg": "JPEG"}.get(ending, ending))
    return file.getvalue()


def fill_folder(folder: Path, names: Mapping[str, int]) -> Path:
    for name, number in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number, path.suffix[1:]))
    return folder


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def number_of(pixels: Image.Image | NDArray[np.float32]) -> int:
    assert isinstance(pixels, Image.Image)
    return round(pixels.convert("RGB").getpixel((0, 0))[1] / 10)  # type: ignore[index]


def open_images(path: Path, log: SkipLog) -> Splits:
    return open_dataset(path, IMAGE_RECORDS, log)


def pixels_at(images: Dataset, item: int) -> Pixels:
    return pixels_of(images.read(item))
