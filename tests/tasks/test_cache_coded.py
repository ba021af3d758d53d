"""Coded caches: small, near to what the VAE encodes after the decoder, and as dependable as others."""

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_cache import SMALL, content, numbered, write_classes
from small_tables import columns, save_table_vae, write_table
from small_text import save_text_vae

from vaekit.domains.fitting import FitOptions
from vaekit.errors import BadCache, BadItem, CacheMismatch, MissingPackage
from vaekit.latent_cache.open import LatentCache, open_cache
from vaekit.latent_cache.shard_files import latents_path, record_path
from vaekit.latent_cache.steps import CODING, CodingSteps
from vaekit.tasks.cache import CacheCallbacks, CacheOptions, cache
from vaekit.tasks.cache_checks import WORST_LOSS
from vaekit.tasks.cache_estimate import RECORD_BYTES, estimate_cache
from vaekit.tasks.cache_result import CacheResult
from vaekit.tasks.cache_steps import LARGEST_STEP, LOSS
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

pytest.importorskip("constriction")
CODED = replace(SMALL, dtype="coded")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of three sizes in two classes."""
    return write_classes(tmp_path / "data")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs of scikit-learn and scikit-image, in 160 x 160 pixels."""
    datasets, skimage = pytest.importorskip("sklearn.datasets"), pytest.importorskip("skimage.data")
    data = tmp_path_factory.mktemp("photographs")
    images = [*datasets.load_sample_images().images, skimage.astronaut(), skimage.coffee()]
    for number, image in enumerate(images):
        picture = Image.fromarray(np.asarray(image, np.uint8)).crop((0, 0, 400, 400))
        picture.resize((160, 160), Image.Resampling.LANCZOS).save(data / f"{number}.png")
    return data


def steps_of(result: CacheResult) -> CodingSteps:
    assert result.steps is not None
    return result.steps


def assert_within_steps(coded: LatentCache, exact: LatentCache, steps: CodingSteps) -> None:
    """Every mean and log-variance is within half a step of that of a cache in fp32."""
    axes = [1] * len(coded.origin.geometry.factors)
    half = torch.tensor(steps.mean).reshape(-1, *axes) / 2
    for position in range(len(exact)):
        one, other = exact.read(position), coded.read(position)
        assert one.item == other.item
        assert ((one.mean - other.mean).abs() <= half * 1.001 + 1e-6 * one.mean.abs()).all()
        if one.log_variance is not None:
            assert other.log_variance is not None
            assert (one.log_variance - other.log_variance).abs().max() <= steps.log_variance / 2 + 1e-5


def test_photographs_take_five_bits_a_value_and_lose_a_tenth_of_a_decibel(photographs: Path, tmp_path: Path) -> None:
    model = open_model(ModelOptions("builtin"), EngineOptions(device="cpu"))
    options = CacheOptions(FitOptions(size=144, buckets=0), dtype="coded")
    result = cache(model, photographs, tmp_path / "coded", options)
    assert result.rounding is not None and 0 < result.rounding.loss <= WORST_LOSS
    steps = steps_of(result)
    assert steps.items == 4 and 0.5 * LOSS < steps.loss <= LOSS
    tensors = load_file(latents_path(tmp_path / "coded", "000-00000"))
    nbytes = sum(tensor.nbytes for name, tensor in tensors.items() if name.startswith("mean"))
    assert 8 * nbytes <= 5 * 4 * 16 * 18 * 18
    cache(model, photographs, tmp_path / "exact", replace(options, dtype="fp32"))
    exact, coded = open_cache(tmp_path / "exact"), open_cache(tmp_path / "coded")
    assert_within_steps(coded, exact, steps)
    assert coded.statistics == exact.statistics and coded.statistics is not None
    means = torch.stack([exact.read(i).mean for i in range(4)]).transpose(0, 1).flatten(1)
    assert (torch.tensor(steps.mean) <= 1.001 * LARGEST_STEP * means.std(1, correction=0)).all()


def test_coded_latents_are_those_encoded_on_the_fly_within_a_step(
    model: OpenModel, folder: Path, tmp_path: Path
) -> None:
    options = replace(CODED, flips=True)
    result = cache(model, folder, tmp_path / "out", options)
    cache(model, folder, tmp_path / "exact", replace(options, dtype="fp32"))
    coded, exact = open_cache(tmp_path / "out"), open_cache(tmp_path / "exact")
    assert_within_steps(coded, exact, steps_of(result))
    half = torch.tensor(steps_of(result).mean)[:, None, None] / 2
    one, other = exact.read(2).flipped, coded.read(2).flipped
    assert one is not None and other is not None and ((one[0] - other[0]).abs() <= half * 1.001 + 1e-6).all()


def test_an_interrupted_run_goes_on_with_the_same_bytes(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done >= 3:
            raise Stopped

    cache(model, folder, tmp_path / "whole", CODED)
    with pytest.raises(Stopped):
        cache(model, folder, tmp_path / "out", CODED, CacheCallbacks(encoded=stop))
    assert (tmp_path / "out" / CODING).exists()
    result = cache(model, folder, tmp_path / "out", CODED)
    assert result.cached == 7 and content(tmp_path / "out") == content(tmp_path / "whole")


def test_shares_of_the_work_have_the_same_steps(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    cache(model, folder, tmp_path / "whole", CODED)
    for rank in (1, 0):
        cache(model, folder, tmp_path / "out", CODED, share=(rank, 2))
    cache(model, folder, tmp_path / "out", CODED)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_further_items_are_coded_with_the_steps_of_the_first(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    before = cache(model, folder, tmp_path / "out", CODED)
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "extra.png")
    with (folder / "cat" / "extra.png").open("ab") as file:
        file.write(b"other")
    after = cache(model, folder, tmp_path / "out", CODED)
    assert after.encoded == 1 and after.steps == before.steps
    with pytest.raises(CacheMismatch):
        cache(model, folder, tmp_path / "out", SMALL)
    (tmp_path / "out" / CODING).write_text("{}")
    with pytest.raises(BadCache):
        cache(model, folder, tmp_path / "out", CODED)


def test_damaged_shards_are_an_error_and_written_again(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cache(model, folder, out, CODED)
    before, path = content(out), latents_path(out, "000-00000")
    good = path.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    header = json.loads(good[8:start])
    first, last = header["mean_words"]["data_offsets"]
    bad = bytearray(good)
    bad[start + (first + last) // 2 - 4] ^= 255
    path.write_bytes(bad)
    rows = [i for i, (shard, _) in enumerate(open_cache(out).places) if shard == 0]
    with pytest.raises(BadCache):
        open_cache(out).moments(rows)
    result = cache(model, folder, out, replace(CODED, verify=1.0))
    assert result.verification is not None and list(result.verification.damaged) == ["000-00000"]
    assert result.is_sound and content(out) == before


def test_verification_finds_latents_of_something_else(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", replace(CODED, verify=1.0)
    sound = cache(model, folder, out, options)
    assert sound.is_sound and sound.verification is not None and sound.verification.largest < 0.01
    for path in out.glob("shards/*.json"):
        record = json.loads(path.read_text())
        if len(record["items"]) > 1:
            record["items"] = record["items"][1:] + record["items"][:1]
            path.write_text(json.dumps(record))
            break
    result = cache(model, folder, out, options)
    assert not result.is_sound and result.verification is not None and len(result.verification.different) >= 2


def test_a_dry_run_estimates_the_bytes_and_writes_nothing(model: OpenModel, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(40):
        numbered(number, 64, 64).save(data / f"{number}.png")
    options = CacheOptions(FitOptions(size=64, buckets=0), dtype="coded")
    estimate = estimate_cache(model, data, tmp_path / "out", options, CacheCallbacks())
    assert not (tmp_path / "out").exists()
    result = cache(model, data, tmp_path / "out", options)
    assert estimate.nbytes == pytest.approx(result.nbytes + 40 * RECORD_BYTES, rel=0.2)
    plain = estimate_cache(model, data, tmp_path / "other", replace(options, dtype="fp16"), CacheCallbacks())
    assert estimate.nbytes < 0.6 * plain.nbytes


def test_without_the_coder_nothing_is_written(
    model: OpenModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingPackage):
        cache(model, folder, tmp_path / "out", CODED)
    assert not (tmp_path / "out").exists()


def test_rows_and_sentences_are_coded_too(tmp_path: Path) -> None:
    table = columns()
    vae, data = save_table_vae(tmp_path / "rows.safetensors", table), write_table(tmp_path / "rows.csv", table)
    rows = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    result = cache(rows, data, tmp_path / "rows", CacheOptions(dtype="coded", verify=1.0))
    cache(rows, data, tmp_path / "exact", CacheOptions(dtype="fp32"))
    assert result.cached == 60 and result.is_sound
    assert_within_steps(open_cache(tmp_path / "rows"), open_cache(tmp_path / "exact"), steps_of(result))
    save_text_vae(tmp_path / "text.safetensors")
    texts = open_model(ModelOptions(str(tmp_path / "text.safetensors")), EngineOptions(device="cpu"))
    (tmp_path / "text.txt").write_text("the cat sat\na dog ran\nthe cat sat\n")
    result = cache(texts, tmp_path / "text.txt", tmp_path / "text", CacheOptions(dtype="coded"))
    assert result.cached == 3 and steps_of(result).items == 0
    assert all(math.isfinite(step) and step > 0 for step in steps_of(result).mean)


def test_items_that_cannot_be_read_do_not_stop_the_search_for_steps(
    model: OpenModel, folder: Path, tmp_path: Path
) -> None:
    for number in range(3):
        path = folder / "cat" / f"0{number}.png"
        path.write_bytes((folder / "cat" / "1.png").read_bytes()[: 300 + number])
    result = cache(model, folder, tmp_path / "out", CODED)
    assert result.cached == 7 and len(result.rejected) == 3
    shutil.rmtree(folder / "dog")
    for path in (folder / "cat").glob("?.png"):
        path.unlink()
    with pytest.raises(BadItem):
        cache(model, folder, tmp_path / "none", CODED)
    assert not record_path(tmp_path / "none", "000-00000").exists()
