"""Images on disk, to be read."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Save an image under `tmp_path` and give its path."""

    def save(image: Image.Image, ending: str = ".png", **options: object) -> Path:
        path = tmp_path / f"image{ending}"
        image.save(path, **options)
        return path

    return save
