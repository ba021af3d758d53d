"""What is not an image, or a broken one, is refused in words."""

import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from handmade_images import png, scene
from handmade_profiles import WIDE_PROFILE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from refusals import refuses

from vaekit.domains.images import read as reading
from vaekit.domains.images.read import read_image
from vaekit.errors import BadItem, NotFound, VaekitError, visible

Saved = Callable[..., Path]


def refused(path: Path, *facts: str) -> None:
    with refuses(BadItem, *facts) as caught:
        read_image(path)
    message = str(caught.value)
    assert visible(str(path)) in message or "too long" in message
    assert "\n" not in message


def test_a_missing_file(tmp_path: Path) -> None:
    with refuses(NotFound, "nowhere"):
        read_image(tmp_path / "nowhere.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotFound):
        read_image(tmp_path / "file" / "inside.png")


def test_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    refused(tmp_path)
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "0 bytes")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(NotFound):
        read_image(tmp_path / "null\0byte.png")


def test_a_file_that_may_not_be_read(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(scene())
    monkeypatch.setattr("vaekit.domains.images.read.open_file", deny)
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is text\n" * 20,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        png(0, 5, 8, 2),
        b"P6 0 0 255\n",
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated_files(saved: Saved, ending: str, part: float) -> None:
    path = saved(scene(size=(64, 64)), ending)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path)


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_decompression_bombs(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, bytes(100)))
    limit = Image.MAX_IMAGE_PIXELS
    refused(path, "178,956,970 pixels")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_holds_where_pillow_has_none(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(reading, "LARGEST_IMAGE", 34)
    refused(saved(scene()), "7 x 5 pixels")


def test_large_images_do_not_warn(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    path = saved(scene())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).width == 7


def _seeds() -> list[bytes]:
    """Small good files of several formats, to be damaged."""
    contents = []
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05"}
    for name in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        buffer = io.BytesIO()
        options = {} if name in ("GIF", "BMP", "PPM") else {"exif": exif.tobytes(), "icc_profile": WIDE_PROFILE}
        scene().save(buffer, format=name, **options)
        contents.append(buffer.getvalue())
    return contents


SEEDS = _seeds()
SIGNATURES = [content[:12] for content in SEEDS] + [b"", b"P5 3 3 65535\n", b"P1 2 2\n", b"qoif"]


def _reads_or_refuses(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.png"
        path.write_bytes(content)
        try:
            image = read_image(path)
        except VaekitError as error:
            assert "\n" not in str(error)
        else:
            assert image.pixels.shape[:2] == (1, 3)
            assert image.pixels.abs().max() <= 1


@given(signature=st.sampled_from(SIGNATURES), rest=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_either_read_or_are_refused(signature: bytes, rest: bytes) -> None:
    _reads_or_refuses(signature + rest)


@given(
    seed=st.sampled_from(SEEDS),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_images_either_read_or_are_refused(seed: bytes, damage: list[tuple[float, int]]) -> None:
    content = bytearray(seed)
    for place, value in damage:
        content[int(place * len(content))] = value
    _reads_or_refuses(bytes(content))
