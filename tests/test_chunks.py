"""Items in chunks: cutting, joining and cross-fading, and what a chunk depends on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from line_nets import random_vae
from refusals import refuses
from torch import Tensor

from vaekit.chunks import crossfaded, cut, cut_latents, joined, moments_of, parameters_of
from vaekit.errors import LatentMismatch
from vaekit.geometry import Geometry


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    factor, positions = draw(st.integers(1, 5)), draw(st.integers(2, 8))
    chunk = factor * positions
    overlap = draw(st.integers(0, chunk // 2))
    return Geometry(2, 2 * factor, (factor,), padding="zeros", chunk=chunk, overlap=overlap)


@given(geometries(), st.integers(1, 3), st.integers(1, 60))
@settings(deadline=None)
def test_chunks_that_are_not_changed_are_the_item(geometry: Geometry, items: int, length: int) -> None:
    x = torch.randn(items, 2, length, dtype=torch.float64)
    whole = torch.zeros(items, 2, *geometry.padded_size((length,)), dtype=torch.float64)
    whole[..., :length] = x
    chunks = cut(x, geometry)
    assert chunks.shape[1:] == (2, geometry.chunk)
    torch.testing.assert_close(crossfaded(chunks, items, geometry), whole)
    # An encoder that rearranges samples into channels, and its inverse.
    factor = geometry.factors[0]
    z = moments_of(lambda x: x.unflatten(2, (-1, factor)).transpose(2, 3).flatten(1, 2), x, geometry)
    assert z.shape == (items, geometry.latent_channels, *geometry.latent_size((length,)))
    back = parameters_of(lambda z: z.unflatten(1, (2, factor)).transpose(2, 3).flatten(2), z, geometry)
    torch.testing.assert_close(back, whole)
    assert torch.equal(joined(cut_latents(z, geometry), items), z)


def test_the_later_chunk_fades_in_linearly() -> None:
    geometry = Geometry(1, 1, (4,), padding="zeros", chunk=8, overlap=3)
    chunks = torch.tensor([[[0.0] * 8], [[1.0] * 8], [[5.0] * 8]])
    assert crossfaded(chunks, 1, geometry).flatten().tolist() == [
        *[0, 0, 0, 0, 0],
        *[0.25, 0.5, 0.75, 1, 1],
        *[2, 3, 4, 5, 5],
    ]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_chunks_do_not_depend_on_each_other(seed: int) -> None:
    vae = random_vae(seed, whole=True, chunked=True)
    geometry = vae.geometry
    step, positions = geometry.chunk_step, geometry.chunk_positions
    x = torch.randn(1, geometry.channels, 4 * step)
    changed = x.clone()
    changed[..., 2 * step + geometry.overlap : 3 * step] += 1  # in the third chunk only
    z, other = vae.encode(x).mode, vae.encode(changed).mode
    differs = (z != other).any(dim=1)[0].view(4, positions).any(dim=1)
    assert differs.tolist() == [False, False, True, False]
    y, after = vae.decode(z), vae.decode(other)
    reached = (y != after).any(dim=1)[0].nonzero().flatten()
    assert 2 * step <= reached.min() and reached.max() < 3 * step + geometry.overlap


def test_parts_of_chunks_are_refused() -> None:
    vae = random_vae(0, chunked=True)
    z: Tensor = torch.zeros(1, vae.geometry.latent_channels, vae.geometry.chunk_positions + 1)
    with refuses(LatentMismatch, str(vae.geometry.chunk_positions)):
        vae.decode(z)
