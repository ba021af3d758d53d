"""Relative errors of transformed maps."""

import pytest
import torch
from torch import Generator

from vaekit.metrics.latent.equivariance import TRANSFORMS, relative_error

MAPS = torch.randn(2, 3, 8, 8, generator=Generator().manual_seed(0))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_equivariant_map_has_no_error(name: str) -> None:
    transform = TRANSFORMS[name]
    assert relative_error(transform(2 * MAPS + 1), 2 * transform(MAPS) + 1).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_a_constant_answer_has_an_error_of_one() -> None:
    mean = MAPS.mean(dim=(2, 3), keepdim=True).expand_as(MAPS)
    assert relative_error(mean, MAPS).tolist() == pytest.approx([1, 1])
    assert relative_error(3 * MAPS, MAPS).min() > 1
    assert relative_error(MAPS, torch.ones_like(MAPS)).isnan().all()
