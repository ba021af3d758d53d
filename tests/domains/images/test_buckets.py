"""Images are brought to buckets: the nearest aspect ratio, the middle part, and the size of the upright image."""

import io
import itertools
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.ExifTags import Base

from vaekit.datasets.dataset import ArrayRecord, BytesRecord, FileRecord
from vaekit.domains.fitting import FitOptions
from vaekit.domains.images.buckets import ImageBuckets, bucket_sizes, image_buckets
from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.read import read_image
from vaekit.errors import BadItem, BadPlan
from vaekit.geometry import Geometry

KL = Geometry(3, 4, (8, 8))
PREPARATION = Preparation(256)


def buckets(size: int = 64, step: int | None = 16, crop: str | None = None) -> ImageBuckets:
    return image_buckets(PREPARATION, KL, FitOptions(size, step, crop))


@pytest.mark.parametrize(("size", "step"), [(512, 64), (256, 8), (1024, 64), (100, 8), (64, 64), (33, 3)])
def test_buckets_have_the_area_and_the_steps_that_are_asked_for(size: int, step: int) -> None:
    sizes = bucket_sizes(size, step)
    for rows, columns in sizes:
        assert rows % step == columns % step == 0 and rows * columns <= size**2
        assert max(rows, columns) <= 2 * min(rows, columns)
        assert rows == columns or rows * (columns + step) > size**2 or columns * (rows + step) > size**2
        assert (columns, rows) in sizes
    assert (size // step * step,) * 2 in sizes


def test_each_size_gets_the_nearest_aspect_ratio() -> None:
    made = buckets(256, 8)
    for height, width in itertools.product((7, 64, 100, 4000), (9, 64, 333, 5000)):
        rows, columns = made.bucket((height, width))
        distance = abs(torch.tensor(columns / rows * height / width).log())
        assert all(distance <= abs(torch.tensor(c / r * height / width).log()) + 1e-6 for r, c in made.sizes)


def record_of(image: Image.Image, file_format: str = "PNG", **options: object) -> BytesRecord:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    content = file.getvalue()
    return BytesRecord("x", len(content), lambda count: content[:count])


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downward."""
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 255 // width, y * 255 // height, 0) for y in range(height) for x in range(width)])
    return image


def test_the_middle_part_is_kept_in_the_aspect_ratio_of_the_bucket() -> None:
    fitted = buckets(64, 0).fit([record_of(gradient(200, 100))], (64, 64))
    assert fitted.x.shape == (1, 3, 64, 64) and fitted.sizes == [(100, 200)] and fitted.crops == [(50, 0, 150, 100)]
    red = fitted.x[0, 0].mean(0)
    assert red[0] == pytest.approx(-0.5, abs=0.03) and red[-1] == pytest.approx(0.5, abs=0.03)


def test_whole_images_are_stretched() -> None:
    fitted = buckets(64, 0, "whole").fit([record_of(gradient(200, 100))], (64, 64))
    assert fitted.crops == [(0, 0, 200, 100)]
    assert fitted.x[0, 0].mean(0)[0] < -0.97


def test_images_that_have_the_size_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    gradient(80, 48).save(path)
    made = buckets(64, 16)
    assert made.bucket(made.size(FileRecord(path))) == (48, 80)
    assert torch.equal(made.fit([FileRecord(path)], (48, 80)).x, read_image(path).pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_of_the_upright_image(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    record = record_of(gradient(90, 40), file_format, exif=exif)
    made = buckets(64, 16)
    size = (90, 40) if orientation >= 5 else (40, 90)
    assert made.size(record) == size
    fitted = made.fit([record], made.bucket(size))
    assert fitted.sizes == [size] and fitted.x.shape[2:] == made.bucket(size)


def test_arrays_and_gray_images_are_taken_too() -> None:
    made = image_buckets(Preparation(28, channels=1), Geometry(1, 2, (4, 4)), FitOptions())
    values = torch.arange(28 * 28).remainder(256).reshape(28, 28, 1).byte().numpy()
    record = ArrayRecord("x", values, None)
    assert made.size(record) == (28, 28) and made.bucket((28, 28)) == (28, 28)
    assert made.fit([record], (28, 28)).x.shape == (1, 1, 28, 28)


def test_a_fixed_size_is_the_only_bucket() -> None:
    fixed = Geometry(3, 8, (64, 64), (64, 64))
    assert image_buckets(PREPARATION, fixed, FitOptions()).sizes == ((64, 64),)
    with pytest.raises(BadPlan):
        image_buckets(PREPARATION, fixed, FitOptions(size=128))


@pytest.mark.parametrize(
    "options", [FitOptions(4), FitOptions(64, 12), FitOptions(64, 128), FitOptions(64, -8), FitOptions(64, 8, "left")]
)
def test_sizes_that_the_vae_does_not_take_are_refused(options: FitOptions) -> None:
    with pytest.raises(BadPlan):
        image_buckets(PREPARATION, KL, options)


def test_what_is_no_image_is_refused() -> None:
    broken = BytesRecord("x", 3, lambda count: b"abc"[:count])
    for read in (buckets().size, lambda record: buckets().fit([record], (64, 64))):
        with pytest.raises(BadItem):
            read(broken)
