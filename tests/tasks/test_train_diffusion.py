"""Trainings of diffusion models on tiny digits: end to end, interrupted, refused."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses
from small_diffusion import SIDE, train_options, write_digits, write_vae
from torch import Tensor

import vaekit
from vaekit.checkpoints.latent_files import origin_of
from vaekit.diffusion.conditions import Captions, Classes, NoCondition
from vaekit.diffusion.files import DiffusionFile, load_diffusion
from vaekit.domains.recipes import recipe
from vaekit.errors import (
    BadCheckpoint,
    BadRecipe,
    LatentMismatch,
    NotFound,
    NoTrainingData,
    RecipeChanged,
    TrainingStopped,
)
from vaekit.identification.fingerprint import fingerprint
from vaekit.latent_cache.description import CacheDescription, write_description
from vaekit.latent_cache.item_list import ListedItem, write_items
from vaekit.latent_cache.open import open_cache
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import ShardLatents, write_shard
from vaekit.tasks import run_cache
from vaekit.tasks.generate import generate
from vaekit.tasks.generation import GenerateOptions
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.train import TrainCallbacks, TrainOptions, train
from vaekit.tasks.train_diffusion import prepare_diffusion
from vaekit.training.log import LogEvent
from vaekit.training.processes import ProcessGroup
from vaekit.training.run import initial_state, train_until

SILENT = TrainCallbacks()


class Cut(Exception):
    """Stands for a kill."""


def cut_after(samples: int) -> TrainCallbacks:
    def log(event: LogEvent) -> None:
        if event.samples >= samples and not event.held_out:
            raise Cut

    return TrainCallbacks(log=log)


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(load_diffusion(folder).model.state_dict())


def trained(options: TrainOptions, callbacks: TrainCallbacks = SILENT) -> DiffusionFile:
    train(options, callbacks)
    return load_diffusion(options.out)


def test_a_run_has_the_model_its_vae_and_everything_to_generate(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    file = trained(options)
    assert file.model.config.condition == Classes(("0", "1"))
    assert file.model.config.net.shape == (2, SIDE // 2, SIDE // 2) == tuple(file.examples.shape[1:])
    facts = file.facts
    assert (facts.domain, facts.item_size, facts.shift, facts.recipe) == ("images", (SIDE, SIDE), 1.0, "small")
    vae = vaekit.load(tmp_path / "vae.safetensors")
    assert facts.origin == origin_of(vae)
    assert fingerprint(vaekit.load(options.out)) == fingerprint(vae)
    assert (options.out / "log.jsonl").read_text().count("flow") > 2


def test_latents_are_normalized_by_the_statistics_of_samples_of_their_posteriors(tmp_path: Path) -> None:
    options = train_options(tmp_path, ["data.held_out=0"])
    model = trained(options).model
    vae = vaekit.load(tmp_path / "vae.safetensors")
    images = torch.full((16, 1, SIDE, SIDE), -1.0)
    for place in range(8):
        images[place, :, :, place] = images[8 + place, :, place] = 1
    with torch.no_grad():
        posterior: Any = vae.encode(images)
    expected = posterior.mean.var((0, 2, 3), correction=0) + posterior.log_variance.exp().mean((0, 2, 3))
    torch.testing.assert_close(model.mean.flatten(), posterior.mean.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.std.flatten(), expected.sqrt(), rtol=1e-4, atol=1e-5)


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    whole = weights(trained(options) and options.out)
    killed = replace(options, out=tmp_path / "killed")
    calls = iter([False, False, True])
    with pytest.raises(TrainingStopped):
        train(killed, TrainCallbacks(stop=lambda: next(calls)))
    train(killed)
    resumed = weights(killed.out)
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


@pytest.mark.nightly
def test_a_run_that_was_cut_without_a_checkpoint_starts_again(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    with pytest.raises(Cut):
        train(options, cut_after(8))
    with refuses(NotFound, "diffusion.safetensors"):
        load_diffusion(options.out)
    train(options)
    assert load_diffusion(options.out).facts.recipe == "small"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param((), Classes, marks=pytest.mark.nightly),
        pytest.param(['diffusion.condition.kind="none"'], NoCondition, marks=pytest.mark.nightly),
        (['diffusion.condition.kind="captions"', "diffusion.condition.net={width=8, heads=2, layers=1}"], Captions),
        (["diffusion.net={kind='unet', widths=[8, 8], heads=2}", "data.flip=true"], Classes),
        pytest.param(
            ["diffusion.net.patch=1", "diffusion.times={mean=0.5, shift=2.0}"], Classes, marks=pytest.mark.nightly
        ),
    ],
    ids=["classes", "none", "captions", "unet", "times"],
)
def test_kinds_of_models_are_trained(tmp_path: Path, changes: list[str], kind: type) -> None:
    options = train_options(tmp_path, changes)
    file = trained(options)
    assert isinstance(file.model.config.condition, kind)
    x = torch.randn(2, *file.model.config.net.shape)
    null = file.model.config.condition.null()
    condition = None if null is None else null.expand(2, *null.shape)
    assert file.model(x, torch.rand(2), condition).any()


def test_pixels_are_a_case_of_the_same_training(tmp_path: Path) -> None:
    options = train_options(tmp_path, ["vae.kind=none"], vae=False)
    file = trained(options)
    assert file.facts.origin is None
    assert file.model.config.net.shape == (1, SIDE, SIDE)
    assert not (options.out / "vae.safetensors").exists()


def cached(folder: Path, options: TrainOptions) -> Path:
    """A cache of the digits, without those that the run holds out."""
    vae = vaekit.load(folder / "vae.safetensors")
    images, items = [], []
    for name in ("0", "1"):
        for place in range(8):
            image = torch.full((1, SIDE, SIDE), -1.0)
            image[(0, slice(None), place) if name == "0" else (0, place)] = 1
            images.append(image)
            key = f"{len(items):064x}"
            items.append(CachedItem(key, f"{name}/{place}.png", (SIDE, SIDE), (SIDE, SIDE), None, name, f"bar {place}"))
    with torch.no_grad():
        posterior: Any = vae.encode(torch.stack(images))
    made = CacheDescription(
        origin_of(vae), "fp32", "gaussian", "images", {"size": SIDE}, False, "fp32", str(folder / "vae.safetensors")
    )
    out = folder / "cache"
    write_description(out, made)
    write_shard(out, "000-00000", made, items, ShardLatents(posterior.mean, posterior.log_variance))
    write_items(out, [ListedItem(item.name, item.key, item.label, item.caption) for item in items])
    del options
    return out


def test_training_from_a_cache_gives_the_same_weights(tmp_path: Path) -> None:
    """The law of caches: cached and encoded on the fly are the same."""
    options = train_options(tmp_path, ["data.held_out=0"])
    fly = trained(options)
    data = cached(tmp_path, options)
    file = trained(replace(options, data=data, out=tmp_path / "from_cache", vae=None))
    ours, theirs = file.model.state_dict(), fly.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    assert file.facts.origin == fly.facts.origin
    assert fingerprint(vaekit.load(tmp_path / "from_cache")) == fly.facts.origin.fingerprint  # type: ignore[union-attr]


def test_a_cache_of_another_vae_is_refused(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    data = cached(tmp_path, options)
    other = ModelOptions(str(write_vae(tmp_path / "other.safetensors", seed=1)))
    with refuses(LatentMismatch):
        train(replace(options, data=data, vae=other))
    assert not options.out.exists()


def test_non_finite_latents_are_left_out_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaekit.tasks.latent_space import EncodedSpace

    plain = EncodedSpace.encode

    def encode(self: EncodedSpace, x: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, log_variance = plain(self, x)
        mean[: len(mean) // 2] = torch.nan
        return mean, log_variance

    monkeypatch.setattr(EncodedSpace, "encode", encode)
    options = train_options(tmp_path, ["data.held_out=0"])
    said: list[str] = []
    file = trained(options, TrainCallbacks(say=said.append))
    assert file.examples.isfinite().all() and any("not finite" in each for each in said)
    monkeypatch.setattr(EncodedSpace, "encode", lambda self, x: (plain(self, x)[0] * torch.nan, None))
    with refuses(NoTrainingData, 16):
        train(replace(options, out=tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ("diffusion.net.kind='gan'", "gan"),
        ("diffusion.net.width=15", 15),
        ("diffusion.net.width=20_000_000", "memory"),
        ("diffusion.net={kind='unet', widths=[12], heads=2}", 12),
        ("diffusion.condition.kind='smell'", "smell"),
        ("diffusion.condition.drop=2", 2),
        ("diffusion.condition.kind='clip'", "encoder"),
        ("diffusion.times.std=-1", "deviation"),
        ("diffusion.sampling.steps=0", 0),
        ("diffusion.smapling.steps=1", "smapling"),
        ("diffusion=3", "table"),
        ("diffusion.net=3", "table"),
        ("vae.kind='magic'", "magic"),
        ("vae.family='kl'", "kl"),
        ("objective.trim=0.5", "objective"),
        ("data.domain='tables'", "tables"),
        ("data.held_out='few'", "held_out"),
        ("schedule.encoder_steps=2", "encoder_steps"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(tmp_path: Path, change: str, fact: object) -> None:
    options = train_options(tmp_path, [change])
    with refuses(BadRecipe, fact):
        train(options)


def test_a_vae_is_needed_for_latents_and_for_nothing_else(tmp_path: Path) -> None:
    with refuses(BadRecipe, "--vae"):
        train(train_options(tmp_path, vae=False))
    with refuses(BadRecipe, "none"):
        train(train_options(tmp_path, ["vae.kind=none"]))
    with refuses(BadRecipe, "mnist-mlp"):
        train(replace(train_options(tmp_path), recipe="mnist-mlp"))


def test_data_without_labels_or_captions_are_refused(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    plain = write_digits(tmp_path / "plain") / "0"
    for text in plain.glob("*.txt"):
        text.unlink()
    for kind in ("classes", "captions"):
        with refuses(NotFound):
            train(replace(options, data=plain, changes=[f"diffusion.condition.kind={kind}"]))


@pytest.mark.nightly
def test_another_vae_or_other_data_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    train(options)
    other = ModelOptions(str(write_vae(tmp_path / "other.safetensors", seed=1)))
    with refuses(RecipeChanged, "vae"):
        train(replace(options, vae=other))


@pytest.mark.parametrize("damage", ["cut", "facts", "shape", "size", "depth", "nan", "foreign"])
def test_damaged_models_are_refused(tmp_path: Path, damage: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    options = train_options(tmp_path, ["schedule.samples=8"])
    train(options)
    path = options.out / "diffusion.safetensors"
    with safe_open(path, "pt") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "facts":
        save_file(tensors, path, {**metadata, "vaekit.diffusion.facts": '{"net": 3}'})
    elif damage in ("size", "depth"):
        facts = json.loads(metadata["vaekit.diffusion.facts"])
        changed = {"item_size": [10**9, 8]} if damage == "size" else {"net": {**facts["net"], "depth": 10**9}}
        save_file(tensors, path, {**metadata, "vaekit.diffusion.facts": json.dumps(facts | changed)})
    elif damage == "shape":
        save_file({**tensors, "mean": torch.zeros(5)}, path, metadata)
    elif damage == "nan":
        save_file({**tensors, "net.out.bias": tensors["net.out.bias"] * torch.nan}, path, metadata)
    else:
        save_file(tensors, path, {})
    with refuses(BadCheckpoint, "diffusion.safetensors"):
        load_diffusion(options.out)


def test_a_run_is_picklable_and_trains_the_same(tmp_path: Path) -> None:
    options = train_options(tmp_path)
    chosen, encoder = recipe(options.recipe), options.vae
    group, cpu = ProcessGroup(), torch.device("cpu")
    run = prepare_diffusion(chosen, options.data, options.out, 0, encoder, cpu, group).run
    copy = pickle.loads(pickle.dumps(run))
    ends = []
    for each, folder in ((run, "one"), (copy, "two")):
        state = initial_state(each)
        train_until(each, state, each.schedule)
        ends.append(state.tensors())
        replace(each, folder=tmp_path / folder).write(state.result)  # type: ignore[misc]
    assert ends[0].keys() == ends[1].keys() and "model.net.out.weight" in ends[0]
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []
    assert vaekit.load(options.out).config == vaekit.load(tmp_path / "vae.safetensors").config


@pytest.mark.nightly
def test_vectors_of_tables_are_latents_like_others(tmp_path: Path) -> None:
    """The same code: a VAE of rows, a net on one token, rows in a file."""
    generator = np.random.default_rng(0)
    rows = [f"{a:.3f},{'yes' if a > 0 else 'no'}" for a in generator.normal(size=40)]
    (tmp_path / "rows.csv").write_text("\n".join(["size,ripe", *rows]), "utf-8")
    vae = TrainOptions("tables", tmp_path / "rows.csv", tmp_path / "vae", samples=64, device="cpu")
    train(replace(vae, changes=["schedule.batch_size=8", "vae.net.hidden=[8]"]))
    changes = ["data.domain=tables", "diffusion.net={patch=64, width=16, depth=1, heads=1}"]
    changes += ["schedule.batch_size=8", "schedule.warmup_samples=8"]
    encoder = ModelOptions(str(tmp_path / "vae"))
    options = TrainOptions(
        "diffusion-molecules", tmp_path / "rows.csv", tmp_path / "run", 64, changes=changes, device="cpu", vae=encoder
    )
    assert trained(options).facts.item_size == ()
    made = generate(GenerateOptions(tmp_path / "run", tmp_path / "made", count=5, device="cpu"))
    assert (tmp_path / "made" / "generated.csv") in made.paths
    assert len((tmp_path / "made" / "generated.csv").read_text().splitlines()) == 6


def test_large_data_are_cached_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted call goes on, a finished one encodes nothing again; labels come from the cache."""
    options = train_options(tmp_path, ["data.flip=true"])
    monkeypatch.setattr(run_cache, "LARGE", 0)
    with pytest.raises(TrainingStopped):
        train(options, TrainCallbacks(stop=lambda: True))
    assert not list((options.out / "cache" / "shards").glob("*.json"))
    file = trained(options)
    shards = {path.name: path.read_bytes() for path in (options.out / "cache" / "shards").iterdir()}
    assert file.model.config.condition == Classes(("0", "1"))
    assert len(open_cache(options.out / "cache")) == 16
    train(options)
    assert shards == {path.name: path.read_bytes() for path in (options.out / "cache" / "shards").iterdir()}
