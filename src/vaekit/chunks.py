"""Items of one axis in chunks, for VAEs that are defined on chunks of one length; see `Geometry.chunk`.

Their networks take single chunks. An item is continued with zeros to a whole number of chunks; the latents of an item
are those of its chunks one after the other; and where decoded chunks overlap, they are cross-faded linearly. Without
chunks, networks take whole items.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import AnyLatents, Items

Run = Callable[[Tensor], Tensor]
"""Runs an encoder or decoder on a batch of items or of chunks."""


def moments_of(run: Run, x: Items, geometry: Geometry) -> Tensor:
    """The moments of items: of each as a whole, or of its chunks one after the other.

    Args:
        run: the encoder.
        x: the items (b, c, *size).
        geometry: of the VAE.
    """
    return joined(run(cut(x, geometry)), len(x)) if geometry.chunk else run(x)


def parameters_of(run: Run, z: AnyLatents, geometry: Geometry) -> Tensor:
    """The decoder's output for latents of items, (b, c, *size): of each as a whole, or of its chunks, cross-faded.

    Args:
        run: the decoder.
        z: raw latents (b, z, *latent_size), of a whole number of chunks.
        geometry: of the VAE.
    """
    return crossfaded(run(cut_latents(z, geometry)), len(z), geometry) if geometry.chunk else run(z)


def cut(x: Float[Tensor, "b c t"], geometry: Geometry) -> Float[Tensor, "chunks c length"]:
    """The chunks of all items, those of the first one first."""
    step = geometry.chunk_step
    missing = -x.shape[2] % step + geometry.overlap
    return F.pad(x, (0, missing)).unfold(2, geometry.chunk, step).transpose(1, 2).flatten(0, 1)


def joined(moments: Float[Tensor, "chunks m t"], items: int) -> Float[Tensor, "items m _"]:
    """The moments of items, given those of their chunks."""
    return moments.unflatten(0, (items, -1)).transpose(1, 2).flatten(2)


def cut_latents(z: Float[Tensor, "b z t"], geometry: Geometry) -> Float[Tensor, "chunks z positions"]:
    """The latents of the chunks of all items: the inverse of `joined`."""
    return z.unflatten(2, (-1, geometry.chunk_positions)).transpose(1, 2).flatten(0, 1)


def crossfaded(chunks: Float[Tensor, "chunks c length"], items: int, geometry: Geometry) -> Float[Tensor, "items c _"]:
    """Items of n steps, given their n chunks each. Over an overlap of k positions, the share of the later chunk rises
    linearly from 1 / (k + 1) to k / (k + 1); what would overlap with a chunk after the last is left out."""
    heads, tails = chunks.unflatten(0, (items, -1)).split([geometry.chunk_step, geometry.overlap], dim=3)
    rise = torch.arange(1, geometry.overlap + 1, dtype=chunks.dtype, device=chunks.device) / (geometry.overlap + 1)
    faded = torch.lerp(tails[:, :-1], heads[:, 1:, :, : geometry.overlap], rise)
    later = torch.cat([faded, heads[:, 1:, :, geometry.overlap :]], dim=3)
    return torch.cat([heads[:, :1], later], dim=1).transpose(1, 2).flatten(2)
