"""Random views keep shape, dtype and range, and change with the generator only."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.retrieval.views import corrupted, random_views

RANDOM = torch.Generator().manual_seed(0)
ITEMS = {
    "color": torch.rand(6, 3, 16, 16, generator=RANDOM) * 2 - 1,
    "gray": torch.rand(6, 1, 16, 12, generator=RANDOM) * 2 - 1,
    "transparent": torch.rand(6, 4, 8, 8, generator=RANDOM) * 2 - 1,
    "rows": torch.randn(6, 20, generator=RANDOM),
    "tokens": torch.randint(30, (6, 20), generator=RANDOM),
    "sound": torch.randn(6, 1, 64, generator=RANDOM),
}


def generator(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ITEMS)
def test_laws_of_views(kind: str) -> None:
    x = ITEMS[kind]
    view = random_views(x, generator(1))
    assert view.shape == x.shape
    assert view.dtype == x.dtype
    assert torch.equal(view, random_views(x, generator(1)))
    assert not torch.equal(view, random_views(x, generator(2)))
    assert not torch.equal(view, x)
    assert view.min() >= x.min() - 1e-6 or view.min() >= -1
    assert view.max() <= 1 + 1e-6 or view.max() <= x.max()


def test_replaced_values_are_of_other_items_at_the_same_place() -> None:
    x: Tensor = torch.arange(40).view(8, 5)
    view = corrupted(x, generator(0))
    assert torch.equal(view % 5, x % 5)
    share = (view != x).float().mean().item()
    assert 0.05 < share < 0.5
