"""A cache is read as it was written; damaged ones and those of other versions are refused."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from made_cache import description, items, key, latents, make_cache
from safetensors import safe_open
from safetensors.torch import save_file

from vaekit.errors import BadCache, BadLatent, NotFound, VaekitError
from vaekit.latent_cache.description import DESCRIPTION, write_description
from vaekit.latent_cache.item_list import ITEMS
from vaekit.latent_cache.open import open_cache
from vaekit.latent_cache.shard_files import is_intact, latents_path, read_record, record_path, write_shard


def test_items_are_those_of_the_list_with_the_latents_of_their_keys(tmp_path: Path) -> None:
    made = make_cache(tmp_path, flips=True)
    cache = open_cache(tmp_path)
    assert [item.name for item in cache.items] == ["a", "renamed", "c", "d", "e", "again"]
    assert cache.missing == 1
    assert cache.items[1].key == key("b") and cache.items[1].label == "dog" and cache.items[1].caption is None
    assert cache.items[1].size == (80, 64) and cache.items[1].crop == (0, 8, 64, 72)
    wide = made["000-00000"]
    for position, row in ((0, 0), (1, 1), (5, 0)):
        read = cache.read(position)
        assert torch.equal(read.mean, wide.mean[row])
        assert wide.log_variance is not None and wide.flipped is not None
        assert read.log_variance is not None and torch.equal(read.log_variance, wide.log_variance[row])
        assert read.flipped is not None and torch.equal(read.flipped[0], wide.flipped.mean[row])


@pytest.mark.parametrize(("dtype", "step"), [("fp32", 0.0), ("fp16", 2**-8), ("int8", 0.06)])
def test_values_are_those_that_were_written_up_to_the_rounding_of_the_dtype(
    tmp_path: Path, dtype: str, step: float
) -> None:
    made = make_cache(tmp_path, dtype)["000-00000"]
    mean, log_variance = open_cache(tmp_path).moments([2, 0])
    assert log_variance is not None and made.log_variance is not None
    assert (mean - made.mean[[2, 0]]).abs().max() <= step
    assert (log_variance - made.log_variance[[2, 0]]).abs().max() <= step


def test_small_latents_share_a_scale_and_stay_smaller_than_fp16(tmp_path: Path) -> None:
    made = description("int8")
    write_description(tmp_path, made)
    small = latents(500, (2, 2))
    write_shard(tmp_path, "s", made, items([str(i) for i in range(500)], (16, 16)), small)
    mean, _ = open_cache(tmp_path).moments(list(range(500)))
    span = small.mean.amax((0, 2, 3)) - small.mean.amin((0, 2, 3))
    assert ((mean - small.mean).abs().amax((0, 2, 3)) <= span / 255).all()
    assert latents_path(tmp_path, "s").stat().st_size < 500 * 4 * 4 * 2 * 1.3


def test_statistics_are_those_of_samples_of_all_latents(tmp_path: Path) -> None:
    made = make_cache(tmp_path).values()
    statistics = open_cache(tmp_path).statistics
    assert statistics is not None
    means = torch.cat([each.mean.transpose(0, 1).reshape(4, -1) for each in made], 1).double()
    variances = torch.cat(
        [each.log_variance.transpose(0, 1).reshape(4, -1) for each in made if each.log_variance is not None], 1
    ).double()
    std = (means.var(1, correction=0) + variances.exp().mean(1)).sqrt()
    assert statistics.mean == pytest.approx(means.mean(1).tolist())
    assert statistics.std == pytest.approx(std.tolist())
    overall = (means.var(correction=0) + variances.exp().mean()).sqrt()
    assert statistics.scale_factor == pytest.approx(1 / float(overall))


def test_a_cache_can_be_sent_to_another_process(tmp_path: Path) -> None:
    make_cache(tmp_path)
    cache = open_cache(tmp_path)
    again = pickle.loads(pickle.dumps(cache))
    assert torch.equal(again.read(3).mean, cache.read(3).mean)


def test_items_of_different_sizes_are_no_batch(tmp_path: Path) -> None:
    make_cache(tmp_path)
    cache = open_cache(tmp_path)
    assert [item.bucket for item in cache.items] == [(64, 128)] * 3 + [(64, 64)] * 2 + [(64, 128)]
    with pytest.raises(BadLatent):
        cache.moments([0, 3])


def test_without_a_list_the_items_are_those_of_the_shards(tmp_path: Path) -> None:
    make_cache(tmp_path)
    (tmp_path / ITEMS).unlink()
    cache = open_cache(tmp_path)
    assert [item.name for item in cache.items] == ["a", "b", "c", "d", "e"]
    assert cache.items[0].label == "cat"


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_cache(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change_items(path: Path, **values: object) -> None:
    items = [{**item, **values} for item in json.loads(path.read_text())["items"]]
    change(path, items=items)


def rewrite(folder: Path, name: str, **tensors: torch.Tensor) -> None:
    """Other tensors in the file of a shard, with a record that has its size."""
    path = latents_path(folder, name)
    with safe_open(path, "pt") as file:
        kept, metadata = {each: file.get_tensor(each) for each in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({**kept, **tensors}, path, metadata)
    change(record_path(folder, name), bytes=path.stat().st_size)


SHARD = "000-00001"
"""Of two items."""
INSIDE = {
    "another shape": {"mean": torch.zeros(2, 4, 8, 9)},
    "another dtype": {"mean": torch.zeros(2, 4, 8, 8, dtype=torch.float64)},
    "integers": {"mean": torch.zeros(2, 4, 8, 8, dtype=torch.int8)},
    "fewer items": {"mean": torch.zeros(1, 4, 8, 8)},
}


@pytest.mark.parametrize("name", INSIDE)
def test_damaged_shards_are_refused_when_they_are_read(tmp_path: Path, name: str) -> None:
    make_cache(tmp_path)
    rewrite(tmp_path, SHARD, **INSIDE[name])
    cache = open_cache(tmp_path)
    assert cache.read(0).mean.isfinite().all()
    with pytest.raises(BadCache):
        cache.read(3)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (4,), (1, 1)])
def test_scales_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    make_cache(tmp_path, "int8")
    rewrite(tmp_path, SHARD, mean_scale=torch.ones(shape))
    with pytest.raises(BadCache):
        open_cache(tmp_path).read(3)


DAMAGE = {
    "no description": (NotFound, lambda folder: (folder / DESCRIPTION).unlink()),
    "an older version": (BadCache, lambda folder: change(folder / DESCRIPTION, version=0)),
    "a newer version": (BadCache, lambda folder: change(folder / DESCRIPTION, version=99)),
    "another format": (BadCache, lambda folder: change(folder / DESCRIPTION, format="x")),
    "a dtype of the future": (BadCache, lambda folder: change(folder / DESCRIPTION, dtype="fp4")),
    "no VAE": (BadCache, lambda folder: change(folder / DESCRIPTION, origin=None)),
    "no JSON": (BadCache, lambda folder: (folder / DESCRIPTION).write_text("{")),
    "another value": (BadCache, lambda folder: (folder / DESCRIPTION).write_text("[]")),
    "bytes": (BadCache, lambda folder: (folder / DESCRIPTION).write_bytes(b"\xff\xfe")),
    "a cut shard": (BadCache, lambda folder: cut(latents_path(folder, "000-00000"))),
    "no latents": (BadCache, lambda folder: latents_path(folder, "000-00000").unlink()),
    "a cut record": (BadCache, lambda folder: cut(record_path(folder, "000-00000"))),
    "a record of another VAE": (BadCache, lambda folder: change(record_path(folder, "000-00000"), vae={})),
    "a record of another version": (BadCache, lambda folder: change(record_path(folder, "000-00000"), version=7)),
    "a record of another shard": (BadCache, lambda folder: change(record_path(folder, "000-00000"), shard="x")),
    "a record with odd items": (BadCache, lambda folder: change(record_path(folder, "000-00000"), items=[{"key": 1}])),
    "items of other axes": (BadCache, lambda folder: change_items(record_path(folder, SHARD), bucket=[64])),
    "items of other sizes": (BadCache, lambda folder: change_items(record_path(folder, SHARD), size=[1, 2, 3])),
    "a damaged list": (BadCache, lambda folder: cut(folder / ITEMS)),
    "an empty list": (BadCache, lambda folder: (folder / ITEMS).write_text("")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_caches_are_refused(tmp_path: Path, name: str) -> None:
    make_cache(tmp_path)
    error, damage = DAMAGE[name]
    damage(tmp_path)
    with pytest.raises(error) as raised:
        open_cache(tmp_path)
    assert isinstance(raised.value, VaekitError) and raised.value.found


def test_nan_latents_are_refused_by_name(tmp_path: Path) -> None:
    made = description()
    write_description(tmp_path, made)
    broken = latents(3, (8, 8))
    broken.mean[1, 2, 3, 4] = float("nan")
    write_shard(tmp_path, "s", made, items(["a", "b", "c"]), broken)
    cache = open_cache(tmp_path)
    assert cache.read(0).mean.isfinite().all()
    with pytest.raises(BadLatent) as raised:
        cache.moments([2, 1])
    assert "b" in raised.value.found


def test_changed_bytes_are_found_by_the_hash(tmp_path: Path) -> None:
    make_cache(tmp_path)
    record = read_record(tmp_path, "000-00000", description())
    assert is_intact(tmp_path, record)
    path = latents_path(tmp_path, "000-00000")
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    assert not is_intact(tmp_path, record)
