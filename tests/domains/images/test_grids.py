"""The image of how training goes."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from vaekit.domains.images.grids import grid_of, show_in
from vaekit.domains.recipes import recipe


def rows_of(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    vae = recipe(name, ["vae.net.hidden=[16]"]).vae().eval()
    return grid_of(vae, torch.rand(12, 1, 28, 28) * 2 - 1)


@pytest.mark.parametrize(("name", "rows"), [("mnist-mlp", 3), ("autoencoder", 2)])
def test_small_images_are_enlarged_eight_in_a_row(name: str, rows: int) -> None:
    assert rows_of(name).shape == (3, rows * 56, 8 * 56)


def test_it_is_the_same_at_every_look() -> None:
    torch.testing.assert_close(rows_of("mnist-mlp")[:, 112:], rows_of("mnist-mlp")[:, 112:])


def test_it_is_a_file_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = recipe("mnist-mlp", ["vae.net.hidden=[16]"]).vae().eval()
    show_in(tmp_path, vae, torch.zeros(2, 1, 28, 28), 1200)
    with Image.open(tmp_path / "images" / "000000001200.png") as image:
        assert image.size == (112, 168)
