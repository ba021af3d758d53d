"""Built-in images for VAEs of any number of channels."""

import pytest
import torch

from vaekit.testcards.channels import in_channels


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_every_number_of_channels_gets_an_image(channels: int) -> None:
    colors = torch.rand(2, 3, 4, 5)
    images = in_channels(colors, channels)
    assert images.shape == (2, channels, 4, 5)
    if channels == 1:
        assert torch.equal(images[:, 0], colors.mean(1))
    else:
        assert torch.equal(images[:, : min(channels, 3)], colors[:, :channels])
        assert bool((images[:, 3:] == 1).all())
