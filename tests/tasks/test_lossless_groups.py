"""Groups of items for lossless compression; what is in them is tested by compress."""

import torch

from vaekit.tasks.lossless_groups import items_within


def test_groups_of_large_items_are_small() -> None:
    assert items_within(4096, 2**25, torch.zeros(1, 1, 28, 28)) == 4096
    assert items_within(4096, 2**25, torch.zeros(1, 3, 256, 256)) == 170
    assert items_within(4096, 2**25, torch.empty(1, 3, 2**13, 2**13, device="meta")) == 1
