"""Images of items above their reconstructions."""

import torch

from vaekit.tasks.sample_evaluation import stacked


def test_images_of_several_widths_are_stacked_with_margins() -> None:
    one, other = torch.zeros(3, 2, 5), torch.full((3, 4, 3), -1.0)
    for images, margin in (([one, other], slice(2, 6)), ([other, one], slice(0, 4))):
        image = stacked(images)
        assert image.shape == (3, 6, 5)
        assert (image[:, margin, 3:] == 1).all()
        assert (image[:, margin, :3] == -1).all()
        assert int((image == 0).sum()) == one.numel()
    assert torch.equal(stacked([one]), one)
