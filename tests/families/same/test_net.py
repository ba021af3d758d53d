"""Parity with diffusers' AutoencoderSAME on random weights."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderSAME

from vaekit import load
from vaekit.families.same.net import around


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 2, 9])
def test_equal_to_diffusers(pair: tuple[AutoencoderSAME, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    (samples,) = ours.geometry.size_of((positions,))
    x = torch.rand(2, 2, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = theirs.encode(x).latents
    assert latents.shape == (2, 6, positions) and latents.std() > 0.05
    raw = ours.encode(x).mode
    torch.testing.assert_close(ours.normalize(raw), latents, rtol=1e-4, atol=1e-5)
    sound = theirs.decode(latents).sample
    assert sound.std() > 0.05
    torch.testing.assert_close(ours.decode(ours.denormalize(latents)), sound, rtol=1e-4, atol=1e-5)


def test_segments_are_put_beside_their_neighbors() -> None:
    x = torch.arange(12.0).view(1, 3, 2, 2)
    wide = around(x, 1, fill=-1.0)
    assert wide.shape == (1, 3, 6, 2)
    assert torch.equal(wide[0, 1], x[0].flatten(0, 1))
    assert torch.equal(wide[0, 0], torch.cat([torch.full((2, 2), -1.0), x[0, 0], x[0, 1]]))
