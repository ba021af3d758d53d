"""A cache is a source of training data: the same seed gives the same batch, and items of one size are together."""

import pickle
from pathlib import Path

import pytest
import torch
from made_cache import description, items, latents, make_cache

from vaekit.errors import BadLatent
from vaekit.latent_cache.description import write_description
from vaekit.latent_cache.open import open_cache
from vaekit.latent_cache.reader import LatentSource, latent_source, require_one_size
from vaekit.latent_cache.records import CachedBatch
from vaekit.latent_cache.shard_files import write_shard
from vaekit.training.data import Source, Stream


def test_it_is_a_source_for_streams(tmp_path: Path) -> None:
    made = description()
    write_description(tmp_path, made)
    stored = latents(10, (2, 2))
    write_shard(tmp_path, "s", made, items([str(i) for i in range(10)], (16, 16)), stored)
    source = latent_source(open_cache(tmp_path))
    assert isinstance(source, Source) and len(source) == 10
    assert require_one_size(source) == (16, 16)
    stream = Stream(source, seed=3)

    def batch(source: LatentSource, position: int) -> CachedBatch:
        return source.batch(stream.items(position, 5), stream.seed_at(position))

    epoch = torch.cat([batch(source, position).mean for position in (0, 5)])
    order = stream.items(0, 10)
    assert torch.equal(epoch, stored.mean[order])
    later = batch(pickle.loads(pickle.dumps(source)), 5)
    assert torch.equal(later.mean, epoch[5:])
    assert later.labels == ["cat"] * 5 and later.captions[0] == f"A {int(order[5])}."


def test_mirrored_latents_are_taken_at_random(tmp_path: Path) -> None:
    made = description(flips=True)
    write_description(tmp_path, made)
    stored = latents(200, (2, 2), flips=True)
    write_shard(tmp_path, "s", made, items([str(i) for i in range(200)], (16, 16)), stored)
    cache = open_cache(tmp_path)
    every = torch.arange(200)
    one, again, other = (latent_source(cache).batch(every, seed).mean for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert stored.flipped is not None
    plain, mirrored = ((one == each.mean).flatten(1).all(1) for each in (stored, stored.flipped))
    assert bool((plain ^ mirrored).all()) and 60 < int(mirrored.sum()) < 140
    assert torch.equal(latent_source(cache, flip=False).batch(every, 1).mean, stored.mean)


def test_batches_of_several_sizes_have_the_size_of_their_first_item(tmp_path: Path) -> None:
    make_cache(tmp_path)
    cache = open_cache(tmp_path)
    source = latent_source(cache)
    assert source.batch(torch.tensor([0, 3, 4]), 0).mean.shape == (3, 4, 8, 16)
    batch = source.batch(torch.tensor([4, 0, 1, 2]), 0)
    assert batch.mean.shape == (4, 4, 8, 8) and torch.equal(batch.mean[0], cache.read(4).mean)
    with pytest.raises(BadLatent):
        require_one_size(source)
    square = source.of_size((64, 64))
    assert len(square) == 2 and require_one_size(square) == (64, 64)
    assert len(latent_source(cache, [1, 3])) == 2
