"""Caches of latents: what is in them is what the VAE encodes, whatever happens meanwhile."""

import errno
import json
import os
import pickle
import shutil
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_cache import SMALL, content, numbered, write_classes
from small_tables import columns, save_table_vae, write_table
from small_text import save_text_vae

from vaekit.datasets.skip_log import SkipLog
from vaekit.distributions import DiagonalGaussian
from vaekit.domains.fitting import FitOptions
from vaekit.errors import (
    BadItem,
    BadPlan,
    CacheMismatch,
    CannotWrite,
    CannotWriteHere,
    LatentMismatch,
    NotFound,
    NoTrainingData,
)
from vaekit.latent_cache import shard_files
from vaekit.latent_cache.open import open_cache
from vaekit.latent_cache.shard_files import latents_path, record_path
from vaekit.shards import Work
from vaekit.tasks.cache import CacheCallbacks, CacheOptions, cache
from vaekit.tasks.cache_data import STAMPS
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of three sizes in two classes."""
    return write_classes(tmp_path / "data")


def test_cached_latents_are_those_encoded_on_the_fly(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    result = cache(model, folder, tmp_path / "out", SMALL)
    assert (result.items, result.cached, result.encoded, result.unfinished) == (7, 7, 7, 0)
    opened = open_cache(tmp_path / "out")
    assert [item.name for item in opened.items] == [f"cat/{i}.png" for i in (1, 3, 5)] + [
        f"dog/{i}.png" for i in (0, 2, 4, 6)
    ]
    assert {item.label for item in opened.items} == {"cat", "dog"}
    assert opened.origin == model.origin and len({item.bucket for item in opened.items}) == 3
    fitting = model.domain.fitting(model.schema, model.engine.geometry, SMALL.fit)
    records = model.domain.open(folder, SkipLog()).train
    for position, item in enumerate(opened.items):
        fitted = fitting.fit([records.read(position)], item.bucket)
        posterior = model.engine.encode(fitted.x)
        assert isinstance(posterior, DiagonalGaussian)
        read = opened.read(position)
        assert torch.equal(read.mean, posterior.mean[0])
        assert read.log_variance is not None and torch.equal(read.log_variance, posterior.log_variance[0])
        assert item.crop == fitted.crops[0] and item.size == fitted.sizes[0]


@pytest.mark.parametrize(("dtype", "most"), [("fp16", 1e-3), ("int8", 0.02)])
def test_rounded_latents_are_near(model: OpenModel, folder: Path, tmp_path: Path, dtype: str, most: float) -> None:
    exact, rounded = tmp_path / "exact", tmp_path / "rounded"
    cache(model, folder, exact, SMALL)
    result = cache(model, folder, rounded, replace(SMALL, dtype=dtype))
    assert result.rounding is not None and abs(result.rounding.loss) < 0.1
    one, other = open_cache(exact), open_cache(rounded)
    for position in range(len(one)):
        mean = one.read(position).mean
        assert (other.read(position).mean - mean).abs().max() <= most * mean.abs().max()


def test_flipped_latents_are_those_of_mirrored_images(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    cache(model, folder, tmp_path / "out", replace(SMALL, flips=True))
    opened = open_cache(tmp_path / "out")
    fitting = model.domain.fitting(model.schema, model.engine.geometry, SMALL.fit)
    x = fitting.fit([model.domain.open(folder, SkipLog()).train.read(2)], opened.items[2].bucket).x
    flipped = opened.read(2).flipped
    assert flipped is not None
    assert torch.equal(flipped[0], model.engine.encode(x.flip(-1)).mode[0])
    assert not torch.equal(flipped[0], opened.read(2).mean)


def test_only_new_contents_are_encoded(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, SMALL)
    before = content(out)
    again = cache(model, folder, out, SMALL)
    assert again.encoded == 0 and content(out) == before
    (folder / "cat/1.png").rename(folder / "dog/renamed.png")
    shutil.copy(folder / "dog/0.png", folder / "dog/copy.png")
    numbered(100).save(folder / "cat/3.png")
    numbered(101).save(folder / "cat/new.png")
    (folder / "dog/6.png").unlink()
    result = cache(model, folder, out, SMALL)
    assert (result.items, result.cached, result.encoded, result.repeats) == (8, 8, 2, 1)
    assert {name: text for name, text in content(out).items() if name in before and "items" not in name} == {
        name: text for name, text in before.items() if "items" not in name
    }
    opened = open_cache(out)
    at = {item.name: position for position, item in enumerate(opened.items)}
    assert "cat/1.png" not in at and opened.items[at["dog/renamed.png"]].label == "dog"
    assert torch.equal(opened.read(at["dog/copy.png"]).mean, opened.read(at["dog/0.png"]).mean)


def test_unchanged_files_are_not_read_again(
    model: OpenModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.retrieval.contents.SETTLED", -1.0)
    out = tmp_path / "out"
    cache(model, folder, out, SMALL)
    read: list[Any] = []
    monkeypatch.setattr("vaekit.tasks.cache_data.read_bytes", lambda path, _: read.append(path))
    assert cache(model, folder, out, SMALL).encoded == 0
    assert not read
    (out / STAMPS).write_text("damaged")
    with pytest.raises(BadItem):  # they are read, by the function above
        cache(model, folder, out, SMALL)


@pytest.mark.parametrize("when", [1, 3, 4, 6, 8, 10])
def test_an_interrupted_run_goes_on_with_the_same_bytes(
    model: OpenModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """The process ends at each of the files that are written; finished shards are not encoded again."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    cache(model, folder, whole, SMALL)
    written = 0
    replaced = os.replace

    def ends(source: Any, target: Any) -> None:
        nonlocal written
        written += 1
        if written == when:
            raise KeyboardInterrupt
        replaced(source, target)

    monkeypatch.setattr(os, "replace", ends)
    with pytest.raises(KeyboardInterrupt):
        cache(model, folder, out, SMALL)
    monkeypatch.undo()
    finished = len(list((out / "shards").glob("*.json"))) if (out / "shards").exists() else 0
    result = cache(model, folder, out, SMALL)
    assert content(out) == content(whole)
    assert result.shards == 4 and result.encoded <= 7 - finished


def test_a_full_disk_is_one_error_and_loses_nothing(
    model: OpenModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    cache(model, folder, whole, SMALL)
    shards = 0
    write = shard_files.write_tensors

    def full(*args: Any) -> None:
        nonlocal shards
        shards += 1
        if shards == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*args)

    monkeypatch.setattr(shard_files, "write_tensors", full)
    with pytest.raises(CannotWriteHere):
        cache(model, folder, out, SMALL)
    monkeypatch.undo()
    assert len(open_cache(out)) > 0
    assert not list(out.rglob("*.part"))
    assert cache(model, folder, out, SMALL).encoded == 7 - len([*open_cache(whole).shards[0].items]) - len(
        open_cache(whole).shards[1].items
    )
    assert content(out) == content(whole)


def other_vae(vae_file: Path, tmp_path: Path) -> OpenModel:
    from vaekit.checkpoints.load import load
    from vaekit.checkpoints.save import save

    vae = load(str(vae_file))
    with torch.no_grad():
        next(vae.encoder.parameters()).mul_(1.5)
    save(vae, tmp_path / "other.safetensors")
    return open_model(ModelOptions(str(tmp_path / "other.safetensors")), EngineOptions(device="cpu"))


def test_latents_of_two_vaes_are_not_mixed(model: OpenModel, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, SMALL)
    before = content(out)
    with pytest.raises(LatentMismatch):
        cache(other_vae(vae_file, tmp_path), folder, out, SMALL)
    assert content(out) == before


@pytest.mark.parametrize(
    "options",
    [
        replace(SMALL, dtype="fp16"),
        replace(SMALL, flips=True),
        replace(SMALL, fit=FitOptions(size=48, buckets=8)),
        replace(SMALL, fit=replace(SMALL.fit, crop="whole")),
    ],
)
def test_settings_are_not_mixed(model: OpenModel, folder: Path, tmp_path: Path, options: CacheOptions) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, SMALL)
    before = content(out)
    with pytest.raises(CacheMismatch):
        cache(model, folder, out, options)
    assert content(out) == before


def test_data_are_not_mixed(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    cache(model, folder, tmp_path / "out", SMALL)
    before = content(tmp_path / "out")
    numbered(70).save(tmp_path / "x.png")
    with pytest.raises(CacheMismatch):
        cache(model, tmp_path / "x.png", tmp_path / "out", SMALL)
    assert content(tmp_path / "out") == before


def test_other_folders_are_not_written_to(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        cache(model, folder, folder, SMALL)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite):
        cache(model, folder, tmp_path / "file", SMALL)


def damage_bytes(out: Path, name: str) -> None:
    path = latents_path(out, name)
    changed = bytearray(path.read_bytes())
    changed[-2] ^= 1
    path.write_bytes(changed)


@pytest.mark.parametrize(
    ("damage", "verify"),
    [
        (lambda out, name: latents_path(out, name).unlink(), None),
        (lambda out, name: latents_path(out, name).write_bytes(b"short"), None),
        (lambda out, name: record_path(out, name).write_text("{"), None),
        (lambda out, name: record_path(out, name).unlink(), None),
        (damage_bytes, 1.0),
    ],
)
def test_damaged_shards_are_written_again(
    model: OpenModel, folder: Path, tmp_path: Path, damage: Any, verify: float | None
) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, SMALL)
    before = content(out)
    damage(out, "000-00001")
    result = cache(model, folder, out, replace(SMALL, verify=verify))
    assert 0 < result.encoded <= 2 and content(out) == before
    if verify:
        assert result.verification is not None and list(result.verification.damaged) == ["000-00001"]
        assert result.verification.items == 7 and result.is_sound


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_verification_finds_latents_of_something_else(
    model: OpenModel, folder: Path, tmp_path: Path, dtype: str
) -> None:
    out, options = tmp_path / "out", replace(SMALL, dtype=dtype, verify=1.0)
    sound = cache(model, folder, out, options)
    assert sound.is_sound and sound.verification is not None and sound.verification.largest < 0.02
    for path in out.glob("shards/*.json"):
        record = json.loads(path.read_text())
        if len(record["items"]) > 1:
            record["items"] = record["items"][1:] + record["items"][:1]
            path.write_text(json.dumps(record))
            break
    result = cache(model, folder, out, options)
    assert not result.is_sound and result.verification is not None and len(result.verification.different) >= 2


def test_shares_of_the_work_add_up(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    cache(model, folder, whole, SMALL)
    first = cache(model, folder, out, SMALL, share=(1, 3))
    assert first.unfinished > 0
    parts = [cache(model, folder, out, SMALL, share=(rank, 3)).encoded for rank in (2, 0, 1)]
    assert first.encoded + sum(parts) == 7 and parts[-1] == 0
    assert content(out) == content(whole)


def test_shards_that_an_edited_item_was_planned_for_are_finished(
    model: OpenModel, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, SMALL, share=(0, 2))
    for path in folder.rglob("*.png"):
        if path.stem in ("0", "3"):
            numbered(200 + int(path.stem)).save(path)
    result = cache(model, folder, out, SMALL)
    assert result.cached == 7 and result.unfinished == 0


def test_single_items_and_arrays(model: OpenModel, tmp_path: Path) -> None:
    numbered(1).save(tmp_path / "one.png")
    assert cache(model, tmp_path / "one.png", tmp_path / "one", SMALL).cached == 1
    images = np.stack([np.asarray(numbered(number, 16, 16)) for number in (1, 2, 1)])
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([4, 5, 6]))
    result = cache(model, tmp_path / "x.npz", tmp_path / "out", SMALL)
    assert (result.cached, result.encoded, result.repeats) == (3, 2, 1)
    opened = open_cache(tmp_path / "out")
    assert [item.label for item in opened.items] == ["4", "5", "6"]
    assert torch.equal(opened.read(0).mean, opened.read(2).mean)


def test_without_items_nothing_is_written(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoTrainingData):
        cache(model, tmp_path / "empty", tmp_path / "out", SMALL)
    with pytest.raises(NotFound):
        cache(model, tmp_path / "nothing", tmp_path / "out", SMALL)
    (tmp_path / "empty/x.png").write_text("no image")
    with pytest.raises(BadItem):
        cache(model, tmp_path / "empty", tmp_path / "out", SMALL)


def test_rows_and_sentences_are_cached_too(tmp_path: Path) -> None:
    table = columns()
    vae, data = save_table_vae(tmp_path / "rows.safetensors", table), write_table(tmp_path / "rows.csv", table)
    rows = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    result = cache(rows, data, tmp_path / "rows", CacheOptions(dtype="int8"))
    assert result.cached == 60 and result.statistics is not None
    opened = open_cache(tmp_path / "rows")
    x = rows.schema.to_tensor([rows.domain.open(data, SkipLog()).train.read(7)])
    assert (opened.read(7).mean - rows.engine.encode(x).mode[0]).abs().max() < 0.1
    with pytest.raises(BadPlan):
        cache(rows, data, tmp_path / "other", SMALL)
    with pytest.raises(BadPlan):
        cache(rows, data, tmp_path / "other", CacheOptions(flips=True))
    save_text_vae(tmp_path / "text.safetensors")
    texts = open_model(ModelOptions(str(tmp_path / "text.safetensors")), EngineOptions(device="cpu"))
    (tmp_path / "text.txt").write_text("the cat sat\na dog ran\nthe cat sat\n")
    result = cache(texts, tmp_path / "text.txt", tmp_path / "text", CacheOptions(dtype="fp32"))
    assert (result.cached, result.encoded) == (3, 2)


def test_captions_and_sizes_are_kept(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    (folder / "cat/1.txt").write_text("A cat.")
    cache(model, folder, tmp_path / "out", SMALL)
    item = open_cache(tmp_path / "out").items[0]
    assert (item.name, item.caption, item.size) == ("cat/1.png", "A cat.", (48, 32))
    (folder / "cat/1.txt").write_text("Another cat.")
    assert cache(model, folder, tmp_path / "out", SMALL).encoded == 0
    assert open_cache(tmp_path / "out").items[0].caption == "Another cat."


@dataclass(frozen=True)
class Elsewhere:
    """A runner whose workers get everything as another process would: pickled."""

    def run(self, work: Work[Any, Any], specs: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        process = pickle.loads(pickle.dumps(work)).start()
        for spec in reversed(list(specs)):
            yield spec, pickle.loads(pickle.dumps(process(pickle.loads(pickle.dumps(spec)))))


def test_workers_in_other_processes_give_the_same_bytes(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "dog/0.png").read_bytes()[:200])
    whole, out = tmp_path / "whole", tmp_path / "out"
    done: list[tuple[int, int]] = []
    callbacks = CacheCallbacks(encoded=lambda *counts: done.append(counts))
    cache(model, folder, whole, SMALL)
    result = cache(model, folder, out, SMALL, callbacks, Elsewhere())
    assert content(out) == content(whole)
    total = 7 + sum(bool(each.key) for each in result.rejected)
    assert result.encoded == 7 and done[-1] == (total, total)


@pytest.mark.nightly
def test_workers_of_ray_give_the_same_bytes(vae_file: Path, folder: Path, tmp_path: Path) -> None:
    from vaekit.cluster.ray_runner import RayRunner

    whole, out = tmp_path / "whole", tmp_path / "out"
    model = open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu"))
    cache(model, folder, whole, SMALL)
    assert cache(model, folder, out, SMALL, runner=RayRunner(None, 1, False)).encoded == 7
    assert content(out) == content(whole)
