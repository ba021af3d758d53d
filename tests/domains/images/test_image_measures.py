"""What is measured of images, against the measures themselves."""

import pytest
import torch
from torch import Tensor

from vaekit.domains.images import image_measures as image_measures
from vaekit.domains.images.image_measures import FeaturePool
from vaekit.metrics.frechet import frechet_distance, gaussian_of
from vaekit.metrics.kernel_distance import paired_kernel_distance


def rows(count: int, width: int = 5) -> Tensor:
    x = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    return torch.cat([x, x + 0.5], dim=1)


def filled(count: int, step: int) -> FeaturePool:
    pool = FeaturePool(5, seed=0)
    for part in rows(count).split(step):
        pool.add(part)
    return pool


@pytest.mark.parametrize("step", [1, 7, 100])
def test_few_images_have_a_kid_and_no_fid(step: int) -> None:
    found = filled(50, step).result()
    (kid,) = found.results
    assert kid.quantity.name == "rkid" and kid.count == 50
    assert kid.value == paired_kernel_distance(*rows(50).split(5, dim=1))
    assert "50 images" in found.not_measured["rfid"]
    assert found.warnings


@pytest.mark.parametrize("step", [1, 64, 3000])
def test_many_images_have_both(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_measures, "ENOUGH", 100)
    monkeypatch.setattr(image_measures, "KEPT", 60)
    pool = filled(300, step)
    found = pool.result()
    fid, kid = found.results
    x, y = rows(300).split(5, dim=1)
    assert fid.value == pytest.approx(frechet_distance(gaussian_of(x), gaussian_of(y)), rel=1e-9)
    assert (fid.quantity.name, kid.quantity.name) == ("rfid", "rkid")
    assert not found.not_measured and not found.warnings
    assert len(pool.kept) == 60
    kept = torch.stack(pool.kept)
    assert torch.equal(kept, torch.stack(filled(300, 11).kept))
    assert all((rows(300) == row).all(dim=1).any() for row in kept)


def test_the_sample_is_even() -> None:
    """Every row has the same chance, whether it came early or late."""
    places = torch.zeros(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_measures, "KEPT", 10)
        for seed in range(400):
            pool = FeaturePool(1, seed)
            pool.add(torch.arange(40.0).repeat(2, 1).T)
            places[torch.stack(pool.kept)[:, 0].long()] += 1
    assert (places / 400 - 0.25).abs().max() < 0.09


def test_one_image_is_no_set() -> None:
    found = filled(1, 1).result()
    assert set(found.not_measured) == {"rfid", "rkid"}
    assert not found.results
