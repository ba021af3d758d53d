"""The state of training: averages, what is written, and what is read back when files are damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import Tensor

from vaekit.errors import BadCheckpoint
from vaekit.training.data import Stream
from vaekit.training.loop import initial_train_state, train
from vaekit.training.recipe import Recipe
from vaekit.training.state import (
    EMA,
    KEPT,
    TENSORS,
    VALUES,
    State,
    Stateful,
    file_digest,
    inside,
    modules_of,
    newest_checkpoint,
    save_state,
    saved_checkpoints,
)
from vaekit.vae import VAE


@pytest.fixture
def state(small_recipe: Recipe, stream: Stream) -> State:
    """After the whole of a small run."""
    return trained(small_recipe, stream)


def trained(recipe: Recipe, stream: Stream) -> State:
    torch.manual_seed(0)
    state = initial_train_state(recipe.vae(), recipe.schedule())
    train(state, stream, recipe.objective(), recipe.schedule())
    return state


def fresh(recipe: Recipe) -> State:
    torch.manual_seed(1)
    return initial_train_state(recipe.vae(), recipe.schedule())


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(("steps", "rate"), [(0, 0.9), (10, 9 / 20), (10**6, 0.1)])
def test_an_average_comes_nearer_by_what_its_decay_leaves(small_recipe: Recipe, steps: int, rate: float) -> None:
    """The decay is min(0.9, (1 + t) / (10 + t))."""
    vae, other = (small_recipe.vae() for _ in range(2))
    average = EMA(vae, 0.9)
    average.update(other, steps)
    for kept, before, now in zip(average.model.parameters(), vae.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(kept, before + rate * (now - before))
        assert not kept.requires_grad
    assert not average.model.training


def test_buffers_are_copied_and_not_averaged() -> None:
    def normed(value: float) -> VAE:
        norm = torch.nn.BatchNorm1d(2)
        norm.running_mean.fill_(value)  # type: ignore[union-attr]
        return VAE(norm, lambda x: x, None, lambda x: x)  # type: ignore[arg-type, return-value]

    average = EMA(normed(0.0), 0.9)
    average.update(normed(8.0), 10**6)
    assert average.model.encoder.running_mean.tolist() == [8.0, 8.0]


def test_the_first_average_is_what_is_kept(state: State) -> None:
    assert state.result is state.averages[0].model
    assert State(state.vae, state.optimizer).result is state.vae


def test_frozen_modules_stay_in_evaluation_mode(state: State) -> None:
    state.vae.eval()
    frozen = State(state.vae, state.optimizer, frozen=("encoder", "to_posterior", "missing"))
    frozen.to_training()
    assert state.vae.decoder.training and not state.vae.encoder.training
    assert modules_of(state.vae, ("encoder", "missing")) == [state.vae.encoder]


def test_names_begin_with_what_they_are_of(state: State) -> None:
    names = {name.split(".")[0] for name in state.tensors()}
    assert names == {"vae", "average", "optimizer"}
    assert inside({"a.b": torch.ones(1), "ab.c": torch.ones(1)}, "a").keys() == {"b"}


def test_a_restored_state_is_the_same(state: State, small_recipe: Recipe) -> None:
    other = fresh(small_recipe)
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    other.restore(tensors, state.values())
    assert_same(other.tensors(), state.tensors())
    assert (other.samples, other.passed_over) == (320, 0)


def test_the_spelling_of_the_first_edition_is_read(state: State, small_recipe: Recipe) -> None:
    old = {name.replace("optimizer.", "optimiser."): tensor.clone() for name, tensor in state.tensors().items()}
    assert old.keys() != state.tensors().keys()
    other = fresh(small_recipe)
    other.restore(old, {"samples": 320})
    assert_same(other.tensors(), state.tensors())


class Counter(Stateful):
    """Something beside the model that counts."""

    def __init__(self, count: int) -> None:
        self.count = count

    def tensors(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def values(self) -> dict[str, Any]:
        return {"half": self.count / 2}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.count = int(tensors["count"])
        assert values == {"half": self.count / 2}


def test_what_is_beside_the_model_is_kept_with_it(state: State, small_recipe: Recipe) -> None:
    state.extras = {"counter": Counter(7)}
    other, counter = fresh(small_recipe), Counter(0)
    other.extras = {"counter": counter}
    other.restore({name: tensor.clone() for name, tensor in state.tensors().items()}, state.values())
    assert counter.count == 7
    with pytest.raises(ValueError, match="counter"):
        other.restore(state.tensors(), {"samples": 320})


def test_a_state_of_another_model_is_refused(small_recipe: Recipe, table: dict[str, Any], stream: Stream) -> None:
    state = initial_train_state(small_recipe.vae(), small_recipe.schedule())
    table["vae"]["net"]["hidden"] = [17]
    other: State = initial_train_state(Recipe("other", table).vae(), small_recipe.schedule())
    with pytest.raises(ValueError, match="size mismatch"):
        other.restore(state.tensors(), state.values())


def test_a_saved_state_is_read_back(state: State, small_recipe: Recipe, tmp_path: Path) -> None:
    path = save_state(state, tmp_path)
    assert path.name == "000000000320"
    assert json.loads((path / VALUES).read_text())["sha256"] == file_digest(path / TENSORS)
    found = newest_checkpoint(tmp_path, pytest.fail)
    assert found is not None
    other = fresh(small_recipe)
    other.restore(*found)
    assert_same(other.tensors(), state.tensors())


def test_only_the_newest_stay_and_none_from_the_future(state: State, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for samples in (10, 20, 30, 40, 20):
        state.samples = samples
        save_state(state, tmp_path)
        newest = sorted(int(path.name) for path in saved_checkpoints(tmp_path))
        assert len(newest) <= KEPT and max(newest) == samples
    assert newest == [20], "30 and 40 were damaged, or the run would not be at 20 again"
    assert (tmp_path / "notes").is_dir()


def test_without_any_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, pytest.fail) is None
    assert newest_checkpoint(tmp_path / "missing", pytest.fail) is None


def damage(path: Path, kind: str) -> None:
    raw = (path / TENSORS).read_bytes()
    if kind == "words":
        (path / VALUES).write_text("{")
    elif kind == "list":
        (path / VALUES).write_text("[]")
    elif kind == "no digest":
        (path / VALUES).write_text('{"state": {}}')
    elif kind == "missing":
        (path / TENSORS).unlink()
    else:
        (path / TENSORS).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


@pytest.mark.parametrize("kind", ["words", "list", "no digest", "missing", "flipped"])
def test_of_damaged_checkpoints_the_one_before_is_taken(state: State, tmp_path: Path, kind: str) -> None:
    for samples in (10, 20):
        state.samples = samples
        newest = save_state(state, tmp_path)
    damage(newest, kind)
    messages: list[str] = []
    found = newest_checkpoint(tmp_path, messages.append)
    assert found is not None and found[1]["samples"] == 10
    assert len(messages) == 1 and str(newest) in messages[0]


def test_if_all_are_damaged_the_folder_is_named(state: State, tmp_path: Path) -> None:
    damage(save_state(state, tmp_path), "flipped")
    messages: list[str] = []
    with refuses(BadCheckpoint, tmp_path):
        newest_checkpoint(tmp_path, messages.append)
    assert len(messages) == 1
