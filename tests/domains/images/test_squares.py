import torch

from vaekit.domains.images.preparation import square


def test_the_middle_is_kept_and_the_size_is_right() -> None:
    wide = torch.full((1, 3, 40, 120), -1.0)
    wide[..., 40:80] = 1.0
    made = square(wide, 20)
    assert made.shape == (1, 3, 20, 20)
    assert made[..., 2:-2].min() > 0.99
    assert made.abs().max() <= 1


def test_small_images_grow_and_fitting_ones_stay() -> None:
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(square(image, 16), image)
    assert square(image[..., :3], 16).shape == (1, 3, 16, 16)
    assert square(torch.zeros(1, 3, 1, 500), 32).shape == (1, 3, 32, 32)
