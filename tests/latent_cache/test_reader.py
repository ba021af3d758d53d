"""A cache is a source of training data: the same seed gives the same batch, and items of one size are together,
each once in an epoch."""

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
from vaekit.training.data import Source, Stream, ahead


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


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_items_of_several_sizes_are_drawn_once_in_each_epoch(tmp_path: Path, count: int) -> None:
    made = description()
    write_description(tmp_path, made)
    for name, number, side in (("s", 7, 2), ("t", 4, 3), ("u", 1, 4)):
        names = [f"{name}{i}" for i in range(number)]
        write_shard(tmp_path, name, made, items(names, (8 * side, 16)), latents(number, (side, 2)))
    source = latent_source(open_cache(tmp_path))
    stream = Stream(source, seed=3)
    length = stream.epoch_length(count)
    orders = []
    for epoch in range(3):
        positions = range(epoch * length, (epoch + 1) * length, count)
        batches = [stream.batch(position, count) for position in positions]
        captions = [caption for batch in batches for caption in batch.captions]
        assert sorted(map(str, captions)) == sorted(str(item.caption) for item in source.cache.items)
        assert all(0 < len(batch) <= count for batch in batches)
        orders.append(captions)
    assert orders[0] != orders[1]
    again = Stream(pickle.loads(pickle.dumps(source)), seed=3)
    position = length + count * (length // count // 2)  # in the middle of an epoch
    assert torch.equal(again.batch(position, count).mean, stream.batch(position, count).mean)
    ahead_of = ahead(again, range(position, 2 * length, count), count, workers=2)
    left = [caption for batch in ahead_of for caption in batch.captions]
    assert left == orders[1][len(orders[1]) - len(left) :]
    assert Stream(source, seed=4).items(0, count).tolist() != stream.items(0, count).tolist() or count == 1


def test_batches_of_several_sizes_are_refused(tmp_path: Path) -> None:
    make_cache(tmp_path)
    cache = open_cache(tmp_path)
    source = latent_source(cache)
    assert source.batch(torch.tensor([0, 1, 2]), 0).mean.shape == (3, 4, 8, 16)
    with pytest.raises(BadLatent):
        source.batch(torch.tensor([4, 0, 1, 2]), 0)
    with pytest.raises(BadLatent):
        require_one_size(source)
    square = source.of_size((64, 64))
    assert len(square) == 2 and require_one_size(square) == (64, 64)
    assert len(latent_source(cache, [1, 3])) == 2
    assert [group.tolist() for group in latent_source(cache, [4, 1, 3]).groups] == [[0, 2], [1]]
