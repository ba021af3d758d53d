"""A small cache, written without a VAE."""

import hashlib
from pathlib import Path

import torch

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.geometry import Geometry
from vaekit.latent_cache.description import CacheDescription, write_description
from vaekit.latent_cache.item_list import ListedItem, write_items
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import Rejected, ShardLatents, write_shard
from vaekit.normalization import LatentNormalization

ORIGIN = LatentOrigin("a" * 64, "kl", Geometry(3, 4, (8, 8)), LatentNormalization((0.0,), (0.5,)))


def description(
    dtype: str = "fp32", flips: bool = False, posterior: str = "gaussian", origin: LatentOrigin = ORIGIN
) -> CacheDescription:
    return CacheDescription(origin, dtype, posterior, "images", {"size": 64, "crop": "center"}, flips)


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def latents(count: int, size: tuple[int, ...], flips: bool = False, seed: int = 0) -> ShardLatents:
    generator = torch.Generator().manual_seed(seed)
    pairs = [torch.randn(count, 4, *size, generator=generator) * 3 for _ in range(4)]
    mirrored = ShardLatents(pairs[2], pairs[3]) if flips else None
    return ShardLatents(pairs[0], pairs[1], mirrored)


def items(names: list[str], bucket: tuple[int, int] = (64, 64)) -> list[CachedItem]:
    return [CachedItem(key(name), name, (80, 64), bucket, (0, 8, 64, 72), "cat", f"A {name}.") for name in names]


def make_cache(folder: Path, dtype: str = "fp32", flips: bool = False) -> dict[str, ShardLatents]:
    """Two shards of different sizes, with a repeated and a renamed item, one in quarantine and one that is missing."""
    made = description(dtype, flips)
    write_description(folder, made)
    wide, square = latents(3, (8, 16), flips, 1), latents(2, (8, 8), flips, 2)
    write_shard(folder, "000-00000", made, items(["a", "b", "c"], (64, 128)), wide)
    write_shard(
        folder, "000-00001", made, items(["d", "e"]), square, [Rejected(key("bad"), "bad", "It is not an image.")]
    )
    names = {"a": "a", "b": "renamed", "c": "c", "d": "d", "e": "e"}
    listed = [ListedItem(name, key(old), "dog", None) for old, name in names.items()]
    write_items(folder, [*listed, ListedItem("again", key("a")), ListedItem("bad", key("bad"))])
    return {"000-00000": wide, "000-00001": square}
