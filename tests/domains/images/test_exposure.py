from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.datasets.dataset import FileRecord
from vaekit.domains.images.domain import IMAGES, ImageSchema
from vaekit.domains.images.exposure import ABSOLUTE, RANGE, RELATIVE, mean_stops, relative
from vaekit.domains.images.preparation import preparation_from
from vaekit.domains.images.training_data import open_training_data
from vaekit.errors import BadRecipe


def test_exposure_can_be_undone() -> None:
    pixels = torch.rand(3, 1, 8, 8) * 1.6 - 0.8
    for exposure in (ABSOLUTE, RELATIVE):
        torch.testing.assert_close(exposure.undo(exposure.apply(pixels), pixels), pixels, atol=1e-4, rtol=0)
    assert ABSOLUTE.apply(pixels) is pixels


def test_twice_as_bright_images_are_nearly_equal() -> None:
    intensity = torch.rand(1, 1, 8, 8) * 0.3 + 0.1
    dark, light = (relative(scale * intensity * 2 - 1) for scale in (1, 2))
    assert (dark - light).abs().max() < 0.1 / RANGE
    assert (mean_stops(2 * (2 * intensity) - 1) - mean_stops(2 * intensity - 1)).item() == pytest.approx(1, abs=0.15)


def test_training_and_later_images_have_the_same_exposure(tmp_path: Path) -> None:
    for number, scale in enumerate((1, 2)):
        values = np.random.default_rng(7).integers(30, 120, (8, 8)) * scale
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{number}.png")
    preparation = preparation_from({"size": 8, "channels": 1, "exposure": "relative", "held_out": 0})
    source = open_training_data(tmp_path, preparation, 0).source
    trained = source.batch(torch.tensor([0, 1]), 0)
    schema = ImageSchema(preparation)
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    torch.testing.assert_close(trained, schema.to_tensor([FileRecord(path) for path in paths]))
    torch.testing.assert_close(trained[1:], IMAGES.read(paths[1], schema).x)
    assert (trained[0] - trained[1]).abs().max() < 0.05
    dark, light = (item.mean().item() for item in schema.to_items(trained))
    assert dark == pytest.approx(light, abs=0.05)


def test_images_in_memory(tmp_path: Path) -> None:
    values = np.random.default_rng(7).integers(30, 120, (2, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=values)
    preparation = preparation_from({"size": 8, "channels": 1, "exposure": "relative", "held_out": 0})
    batch = open_training_data(tmp_path / "x.npz", preparation, 0).source.batch(torch.tensor([0, 1]), 0)
    torch.testing.assert_close(batch, relative(torch.from_numpy(values)[:, None] / 127.5 - 1))


@pytest.mark.parametrize("table", [{"exposure": "bright"}, {"channels": 4}, {"binary": "static"}])
def test_exposures_that_do_not_exist(table: dict[str, object]) -> None:
    with pytest.raises(BadRecipe):
        preparation_from({"size": 8, "exposure": "relative", **table})
