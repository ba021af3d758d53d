import itertools

import numpy as np
import pytest
import torch

from vaekit.domains.images.crops import Pixels, crops, pyramid


def photograph(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pyramid_has_the_short_sides_asked_for() -> None:
    versions = pyramid(photograph(120, 200), [32, 64, 100], smallest=32)
    assert [version.shape for version in versions] == [(32, 53, 3), (64, 107, 3), (100, 167, 3)]
    assert all(version.dtype == np.uint8 for version in versions)


def test_pyramid_never_enlarges_nor_goes_below_the_smallest() -> None:
    picture = photograph(80, 60)
    versions = pyramid(picture, [16, 64, 4000], smallest=32)
    assert [version.shape for version in versions] == [(80, 60, 3)]
    np.testing.assert_array_equal(versions[0], picture)
    assert pyramid(picture, [16], smallest=32) == []


def test_crops_have_their_shape_and_range() -> None:
    batch = next(crops([photograph(40, 60), photograph(33, 32)], [1.0, 2.0], 32, 5, np.random.default_rng(0)))
    assert batch.shape == (5, 3, 32, 32)
    assert batch.dtype == torch.float32
    assert -1 <= batch.min() < -0.9 < 0.9 < batch.max() <= 1
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_the_same_seed_gives_the_same_crops() -> None:
    def first(seed: int) -> list[torch.Tensor]:
        stream = crops([photograph(40, 60)], [1.0], 16, 4, np.random.default_rng(seed))
        return list(itertools.islice(stream, 3))

    assert all(torch.equal(a, b) for a, b in zip(first(1), first(1), strict=True))
    assert not torch.equal(first(1)[0], first(2)[0])
    assert not torch.equal(*first(1)[:2])


def test_a_crop_is_a_piece_of_the_picture_mirrored_or_not() -> None:
    pixels = photograph(20, 20)
    batch = next(crops([pixels], [1.0], 20, 12, np.random.default_rng(3)))
    whole = torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1
    mirrored = [torch.allclose(crop, whole.flip(-1), atol=1e-6) for crop in batch]
    straight = [torch.allclose(crop, whole, atol=1e-6) for crop in batch]
    assert all(a != b for a, b in zip(mirrored, straight, strict=True))
    assert any(mirrored) and any(straight)


@pytest.mark.parametrize("weights", [[0.0, 1.0], [0.0, 5.0]])
def test_pictures_without_weight_are_never_taken(weights: list[float]) -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert next(crops([black, white], weights, 8, 20, np.random.default_rng(0))).eq(1).all()


def test_busy_places_are_preferred() -> None:
    half_flat = np.zeros((16, 64, 3), np.uint8)
    half_flat[:, 32:] = photograph(16, 32)
    batch = next(crops([half_flat], [1.0], 16, 200, np.random.default_rng(0)))
    flat = batch.flatten(1).eq(-1).all(dim=1)
    assert flat.float().mean() < 0.25
