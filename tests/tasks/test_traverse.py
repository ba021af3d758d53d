"""`tasks.traverse`: the grid, its middle, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import refuses

from vaekit.domains.images.read import read_image
from vaekit.errors import BadPlan
from vaekit.tasks.model import OpenModel
from vaekit.tasks.traverse import TraverseOptions, traverse

SMALL = TraverseOptions(axes=(0, 3), steps=3)


def test_a_grid_and_a_record(model: OpenModel, images: Path, tmp_path: Path) -> None:
    result = traverse(model, images / "0.png", tmp_path / "out", SMALL)
    assert [path.name for path in result.files] == ["traversal.png", "traversal.json"]
    assert result.distances == (-3, 0, 3) and [name for name, _ in result.directions] == ["axis 0", "axis 3"]
    grid = read_image(result.files[0]).pixels
    assert grid.shape == (1, 3, 2 * 53, 3 * 63)
    expected = model.engine.reconstruct(read_image(images / "0.png").pixels).clamp(-1, 1)
    torch.testing.assert_close(grid[..., :53, 63:126], expected, rtol=0, atol=1 / 255)
    record = json.loads(result.files[1].read_text("utf-8"))
    assert record["file"] == str(images / "0.png")
    assert [len(each["vector"]) for each in record["directions"]] == [4, 4]


def test_data_give_the_unit_and_the_components(model: OpenModel, images: Path, tmp_path: Path) -> None:
    result = traverse(model, images / "0.png", tmp_path, replace(SMALL, pca=1, data=images))
    assert [name for name, _ in result.directions] == ["axis 0", "axis 3", "component 1"]
    assert result.directions[0][1] != 1


def test_without_a_choice_the_first_axes_are_shown(model: OpenModel, images: Path, tmp_path: Path) -> None:
    assert len(traverse(model, images / "0.png", tmp_path, TraverseOptions(steps=1)).directions) == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (replace(SMALL, axes=(7,)), "7"),
        (replace(SMALL, pca=2), "--data"),
        (replace(SMALL, steps=10**11), "1,000"),
        (replace(SMALL, extent=math.inf), "inf"),
        (replace(SMALL, extent=math.nan), "nan"),
    ],
)
def test_bad_directions_are_refused(
    model: OpenModel, images: Path, tmp_path: Path, options: TraverseOptions, named: str
) -> None:
    with refuses(BadPlan, named):
        traverse(model, images / "0.png", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_an_axis_that_is_named_twice_is_shown_once(model: OpenModel, images: Path, tmp_path: Path) -> None:
    result = traverse(model, images / "0.png", tmp_path, replace(SMALL, axes=(3, 0, 3)))
    assert [name for name, _ in result.directions] == ["axis 3", "axis 0"]
