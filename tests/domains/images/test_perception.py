"""Features and distances of images."""

import pytest
import torch
from torch import Generator

from vaekit.domains.images.perception import SMALLEST, enlarged, image_perception
from vaekit.domains.measuring import MeasureOptions


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    small = torch.rand(1, 3, 28, 40)
    large = enlarged(small)
    assert min(large.shape[2:]) >= SMALLEST and torch.equal(large[:, :, ::3, ::3], small)
    assert enlarged(large) is large


def test_without_inception_there_are_alexnets_features_with_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.images.perception.find_inception", lambda: None)
    seen = image_perception(MeasureOptions(), torch.device("cpu"))
    assert seen.features is not None and seen.distance is not None
    images = torch.randint(0, 256, (3, 1, 28, 28), generator=Generator().manual_seed(0)) / 127.5 - 1
    features = seen.features.extract(images)
    assert features.shape == (3, seen.features.width)
    torch.testing.assert_close(seen.features.extract(images[1:2]), features[1:2])
    assert torch.equal(seen.features.extract(images + 1e-4), features), "of 8-bit images"
    assert seen.distance.between(images, images).tolist() == [0, 0, 0]
    assert (seen.distance.between(images, images.flip(3)) > 0).all()
    assert all(len(sha256) == 64 for sha256 in seen.features.settings["weights"])
