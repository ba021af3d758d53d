"""`evaluate`, `index` and `score` by the workers of a runner: the same files as in one process."""

import json
import shutil
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_process import OtherProcess
from PIL import Image
from small_index import content, small_images, square_model
from small_tables import columns, save_table_vae, write_table

from vaekit.checkpoints.save import save
from vaekit.domains.measuring import MeasureOptions
from vaekit.errors import ClusterFailed, IndexMismatch
from vaekit.runtime.plan import Plan
from vaekit.shards import IN_PROCESS, Work, claimed
from vaekit.tasks.cache import CacheOptions, cache
from vaekit.tasks.cache_result import CacheResult
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.tasks.index import IndexOptions, index
from vaekit.tasks.model import OpenModel, open_model, reopened
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.score import ScoreOptions, score

SIDE = 32
IMAGES = 23


@pytest.fixture(scope="module")
def vae_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vae") / "square.safetensors"
    square_model(path)
    return path


@pytest.fixture
def model(vae_file: Path) -> OpenModel:
    return open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu"))


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Images, two of which are broken."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, values in enumerate(small_images(IMAGES, SIDE)):
        Image.fromarray(values).save(folder / f"{number:02}.png")
    for number in (4, 17):
        (folder / f"{number:02}.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


def test_evaluate_writes_the_same_results(
    model: OpenModel, vae_file: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EvaluateOptions(MeasureOptions(SIDE), batch=4, sampled=True)
    runner = OtherProcess()
    plan = Plan(device="cpu", batch_size=4, memory="1GiB")
    vae = model.engine.vae
    monkeypatch.chdir(vae_file.parent)
    for name, chosen in (("one", IN_PROCESS), ("many", runner)):
        source = ModelOptions(vae_file.name)
        evaluate_data(vae, plan, gallery, options, tmp_path / name, runner=chosen, source=source)
    for name in ("items.jsonl", "protocol.json", "evaluation.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    assert runner.shards > 3
    assert len(json.loads((tmp_path / "one" / "evaluation.json").read_text())["skipped"]) == 2


def test_evaluate_goes_on_after_an_interruption(
    model: OpenModel, vae_file: Path, gallery: Path, tmp_path: Path
) -> None:
    options = EvaluateOptions(MeasureOptions(SIDE), batch=4)
    plan, vae, source = Plan(device="cpu", batch_size=4, memory="1GiB"), model.engine.vae, ModelOptions(str(vae_file))
    evaluate_data(vae, plan, gallery, options, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done >= 10:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate_data(vae, plan, gallery, options, tmp_path / "cut", stop, OtherProcess(), source)
    left = OtherProcess()
    evaluate_data(vae, plan, gallery, options, tmp_path / "cut", runner=left, source=source)
    assert 0 < left.shards < 5
    assert (tmp_path / "cut" / "items.jsonl").read_bytes() == (tmp_path / "whole" / "items.jsonl").read_bytes()


def test_a_vae_without_a_file_is_sent_itself(model: OpenModel, gallery: Path) -> None:
    options = EvaluateOptions(MeasureOptions(SIDE), batch=8)
    plan = Plan(device="cpu", batch_size=8, memory="1GiB")
    one, many = (
        evaluate_data(model.engine.vae, plan, gallery, options, runner=runner).evaluation
        for runner in (IN_PROCESS, OtherProcess())
    )
    assert one.results == many.results


def test_index_writes_the_same_vectors(
    model: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.tasks.index.chunk_size", lambda _: 4)
    runner = OtherProcess()
    results = [
        index(model, gallery, tmp_path / name, runner=each) for name, each in (("one", IN_PROCESS), ("many", runner))
    ]
    assert results[0].changes.skipped.keys() == results[1].changes.skipped.keys() == {"04.png", "17.png"}
    assert (tmp_path / "one" / "vectors.f32").read_bytes() == (tmp_path / "many" / "vectors.f32").read_bytes()
    assert content(tmp_path / "one") == content(tmp_path / "many")
    assert runner.shards == -(-IMAGES // 4)


def test_index_embeds_only_what_changed(
    model: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.tasks.index.chunk_size", lambda _: 4)
    index(model, gallery, tmp_path / "index")
    Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(gallery / "05.png")
    (gallery / "06.png").unlink()
    changes = index(model, gallery, tmp_path / "index", runner=OtherProcess()).changes
    assert (changes.added, changes.edited, changes.removed) == (0, 1, 1)


@pytest.mark.nightly
def test_index_trains_once_and_sends_the_network_by_its_file(
    model: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.tasks.index.chunk_size", lambda _: 8)
    options = IndexOptions("meaning")
    for name, runner in (("one", IN_PROCESS), ("many", OtherProcess())):
        index(model, gallery, tmp_path / name, options, runner=runner)
    assert content(tmp_path / "one") == content(tmp_path / "many")


def test_index_refuses_a_worker_that_sees_other_data(
    model: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.tasks.index.chunk_size", lambda _: 4)

    class Changed(OtherProcess):
        def run(self, work: Work[Any, Any], specs: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
            (gallery / "00.png").rename(gallery / "99.png")
            return super().run(work, specs)

    with pytest.raises(IndexMismatch, match="same data"):
        index(model, gallery, tmp_path / "index", runner=Changed())


@pytest.mark.parametrize("limit", [None, 31])
def test_score_writes_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None) -> None:
    data = columns()
    vae = save_table_vae(tmp_path / "vae.safetensors", data)
    data["size"][7] = "broken"
    rows = write_table(tmp_path / "rows.csv", data)
    monkeypatch.setattr("vaekit.tasks.reference.batch_size", lambda _: 8)
    model = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    options = ScoreOptions(str(vae), [tmp_path], reference=rows, labels="ill", normal="no", limit=limit, keep=("day",))
    runner = OtherProcess()
    results = [
        score(model, rows, tmp_path / name, options, runner=each)
        for name, each in (("one.csv", IN_PROCESS), ("many.csv", runner))
    ]
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "many.csv").read_bytes()
    assert results[0].detection is not None and vars(results[0].detection) == vars(results[1].detection)
    assert results[0].not_scored == results[1].not_scored
    assert runner.shards == -(-(limit or 60) // 8)


def test_cache_writes_the_same_shards(model: OpenModel, gallery: Path, tmp_path: Path) -> None:
    runner = OtherProcess()
    for name, each in (("one", IN_PROCESS), ("many", runner)):
        cache(model, gallery, tmp_path / name, CacheOptions(shard_items=4), runner=each)
    assert files(tmp_path / "one") == files(tmp_path / "many")
    assert runner.shards == -(-(IMAGES - 2) // 4)


def test_a_shard_that_another_process_encodes_is_awaited_and_not_encoded_again(
    model: OpenModel, gallery: Path, tmp_path: Path
) -> None:
    """As the workers of a killed run, which finish what they have."""
    folder, lock = tmp_path / "cache", tmp_path / "cache" / "shards" / ".000-00001.lock"
    cache(model, gallery, tmp_path / "one", CacheOptions(shard_items=4))
    shutil.copytree(tmp_path / "one", folder, ignore=shutil.ignore_patterns("shards"))
    claim = claimed(lock)
    claim.__enter__()
    results: list[CacheResult] = []
    run = threading.Thread(target=lambda: results.append(cache(model, gallery, folder, CacheOptions(shard_items=4))))
    run.start()
    try:
        until = time.monotonic() + 60
        while not (folder / "shards" / "000-00000.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        for name in ("000-00001.safetensors", "000-00001.json"):
            shutil.copy(tmp_path / "one" / "shards" / name, lock.with_name(name))
    finally:
        claim.__exit__(None, None, None)
        run.join(120)
    assert results[0].cached == IMAGES - 2 and results[0].encoded == IMAGES - 2 - 4
    assert files(tmp_path / "one") == files(folder)


@pytest.mark.parametrize("of", [2, 3])
def test_parts_of_a_cache_are_the_whole(model: OpenModel, gallery: Path, tmp_path: Path, of: int) -> None:
    cache(model, gallery, tmp_path / "one", CacheOptions(shard_items=4))
    for rank in reversed(range(of)):
        cache(model, gallery, tmp_path / "parts", CacheOptions(shard_items=4), share=(rank, of))
    assert files(tmp_path / "one") == files(tmp_path / "parts")


def files(folder: Path) -> dict[str, bytes]:
    """The shards of a cache, and what is in them."""
    found = sorted((folder / "shards").iterdir())
    assert found
    return {path.name: path.read_bytes() for path in found}


def test_a_worker_refuses_other_weights_of_the_same_name(vae_file: Path, tmp_path: Path) -> None:
    own = tmp_path / "vae.safetensors"
    own.write_bytes(vae_file.read_bytes())
    model = open_model(ModelOptions(str(own)), EngineOptions(device="cpu"))
    opener, arguments = model.__reduce__()
    assert opener is reopened and opener(*arguments).origin == model.origin
    changed = model.engine.vae
    with torch.no_grad():
        next(changed.parameters()).add_(1.0)
    save(changed, own)
    with pytest.raises(ClusterFailed, match="other weights"):
        opener(*arguments)


def test_a_model_that_was_made_in_memory_is_not_sent(model: OpenModel) -> None:
    with pytest.raises(TypeError, match="in memory"):
        replace(model, opening=None).__reduce__()
