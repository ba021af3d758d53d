from pathlib import Path

import numpy as np
import pytest
import torch
from image_data import fill_folder
from PIL import Image
from refusals import refuses

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.domain import IMAGES
from vaekit.domains.images.ground_truth import find_masks, ground_truth_of, read_mask
from vaekit.domains.images.preparation import preparation_from
from vaekit.domains.images.training_data import open_training_data
from vaekit.errors import BadItem, NotFound

LAYOUTS = {
    "MVTec AD": {
        "train/good/000.png": None,
        "test/good/000.png": None,
        "test/scratch/000.png": "ground_truth/scratch/000_mask.png",
        "test/hole/000.png": "ground_truth/hole/000_mask.png",
        "test/hole/001.png": None,
    },
    "several categories": {
        "bottle/test/scratch/000.png": "bottle/ground_truth/scratch/000_mask.png",
        "cable/test/scratch/000.png": "cable/ground_truth/scratch/000_mask.png",
    },
    "MVTec AD 2": {
        "validation/good/000.png": None,
        "test_public/bad/000.png": "test_public/ground_truth/bad/000_mask.png",
        "test_public/good/000.png": None,
        "test_private/000.png": None,
    },
    "MVTec LOCO": {"test/logical/007.png": "ground_truth/logical/007/000.png", "test/good/007.png": None},
    "BTAD": {
        "train/ok/0000.bmp": None,
        "test/ok/0000.bmp": "ground_truth/ok/0000.png",
        "test/ko/0000.bmp": "ground_truth/ko/0000.png",
    },
    "VisA": {"Data/Images/Normal/0.JPG": None, "Data/Images/Anomaly/0.JPG": "Data/Masks/Anomaly/0.png"},
    "DAGM": {"Test/0580.PNG": "Test/Label/0580_label.PNG", "Train/0580.PNG": None},
    "Kolektor": {"test/10301.png": "test/10301_GT.png", "test/10302.png": None},
    "a dot in the name": {"test/a/1.5.png": "ground_truth/a/1.5_mask.png", "test/a/1.png": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_belong_to_the_image_of_their_name(layout: str, tmp_path: Path) -> None:
    files = LAYOUTS[layout]
    masks, images = find_masks([*files, *(mask for mask in files.values() if mask)], tmp_path)
    assert masks == {image: [mask] for image, mask in files.items() if mask}
    assert images == list(files)


def test_several_masks_of_an_image(tmp_path: Path) -> None:
    names = ["test/a/1.png", "ground_truth/a/1/000.png", "ground_truth/a/1/001.png"]
    assert find_masks(names, tmp_path) == ({names[0]: names[1:]}, names[:1])


def test_masks_without_an_image_are_no_images(tmp_path: Path) -> None:
    names = ["test/a/1.png", "ground_truth/a/1_mask.png", "ground_truth/a/2_mask.png"]
    assert find_masks(names, tmp_path) == ({names[0]: [names[1]]}, names[:1])


@pytest.mark.parametrize(
    "names", [["masks/1.png", "hats/2.png"], ["labels/1.png"], ["a_mask.png", "b.png"], ["a.png", "b/a.png"]]
)
def test_images_that_only_have_names_of_masks_stay(names: list[str], tmp_path: Path) -> None:
    assert find_masks(names, tmp_path) == ({}, names)


def beside(folder: Path, mask: Image.Image) -> Path:
    """An image and another file of the same name."""
    folder.mkdir()
    Image.new("L", (6, 4), 90).save(folder / "1.jpg")
    mask.save(folder / "1.png")
    return folder


def test_a_mask_beside_its_image_has_few_values(tmp_path: Path) -> None:
    mask = Image.new("L", (6, 4))
    mask.putpixel((2, 1), 255)
    folder = beside(tmp_path / "tiles", mask)
    assert find_masks(["1.jpg", "1.png"], folder) == ({"1.jpg": ["1.png"]}, ["1.jpg"])
    gray = beside(tmp_path / "twice", Image.new("L", (6, 4), 90))
    assert find_masks(["1.jpg", "1.png"], gray) == ({}, ["1.jpg", "1.png"])
    broken = beside(tmp_path / "broken", mask)
    (broken / "1.png").write_bytes(b"no image")
    assert find_masks(["1.jpg", "1.png"], broken) == ({}, ["1.jpg", "1.png"])


@pytest.mark.parametrize(
    ("values", "defects"),
    [([0, 255, 254, 3], [0, 1, 1, 0]), ([0, 1, 2, 0], [0, 1, 1, 0]), ([0, 0, 0, 0], [0, 0, 0, 0])],
    ids=["intensities", "numbers of defects", "no defect"],
)
def test_values_of_masks(values: list[int], defects: list[int], tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([values], np.uint8)).save(path)
    assert read_mask([path], (1, 4)).int().tolist() == [defects]
    assert read_mask([path], (2, 8)).int().tolist() == [[each for each in defects for _ in range(2)]] * 2


def test_several_masks_are_united(tmp_path: Path) -> None:
    for i in range(2):
        values = np.zeros((1, 3), np.uint8)
        values[0, i] = 255
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    assert read_mask([tmp_path / "0.png", tmp_path / "1.png"], (1, 3)).tolist() == [[True, True, False]]


def test_masks_that_cannot_be_read(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    with refuses(BadItem, "red.png"):
        read_mask([tmp_path / "red.png"], (2, 2))
    with refuses(NotFound, "none.png"):
        read_mask([tmp_path / "none.png"], (2, 2))


def test_a_data_set_with_masks(tmp_path: Path) -> None:
    names = list(LAYOUTS["MVTec AD"])
    fill_folder(tmp_path, dict.fromkeys(names, 3))
    for mask in filter(None, LAYOUTS["MVTec AD"].values()):
        (tmp_path / mask).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 255).save(tmp_path / mask)
    said: list[str] = []
    splits = IMAGES.open(tmp_path, SkipLog(say=said.append))
    assert splits.test is not None
    assert [splits.train.key(i) for i in range(len(splits.train))] == names[:1]
    assert [splits.test.key(i) for i in range(len(splits.test))] == sorted(names[1:])
    assert said == ["2 files are masks of other images, and not used as images."]
    truth = ground_truth_of(splits.test)
    assert truth is not None
    defects = truth.defects("test/hole/000.png", (4, 4))
    assert defects is not None
    assert torch.equal(defects, torch.ones(4, 4, dtype=torch.bool))
    assert truth.defects("test/hole/001.png", (4, 4)) is None


def test_only_good_images_are_held_out_in_training(tmp_path: Path) -> None:
    fill_folder(tmp_path, {"train/good/0.png": 1, "test/good/0.png": 2, "test/bad/0.png": 9})
    held_out = open_training_data(tmp_path, preparation_from({"size": 8}), 0).held_out
    assert held_out is not None
    assert len(held_out) == 1
