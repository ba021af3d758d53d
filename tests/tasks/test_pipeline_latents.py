"""Latents of pipelines as maps."""

import torch

from vaekit.tasks.pipeline_latents import as_maps

Z = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


def packed() -> torch.Tensor:
    """As FLUX's pipeline packs them."""
    return Z.view(2, 4, 3, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 12, 16)


def test_all_forms_become_maps() -> None:
    patches = packed().movedim(1, 2).unflatten(2, (3, 4))
    for form in (Z, packed(), patches, Z[:, :, None], Z[:, None]):
        maps = as_maps(form, 4, (48, 64))
        assert maps is not None and torch.equal(maps, Z)


def test_squares_are_assumed_without_a_size() -> None:
    maps = as_maps(torch.zeros(1, 16, 4), 4, None)
    assert maps is not None and maps.shape == (1, 4, 4, 4)


def test_unknown_forms() -> None:
    for shape in ((1, 4), (1, 3, 6, 8), (1, 13, 16), (1, 2, 2, 6, 8), (1, 12, 15)):
        assert as_maps(torch.zeros(shape), 4, (48, 64)) is None
