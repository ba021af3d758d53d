"""The loop: it learns, it follows the schedule, it stops at NaN, and micro-batches and processes change nothing."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import Tensor, multiprocessing

from vaekit.errors import BadRecipe, TrainingDiverged
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import Step, initial_train_state, train
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe
from vaekit.training.schedule import Schedule
from vaekit.training.state import State


def trained(recipe: Recipe, stream: Stream, processes: ProcessGroup = ProcessGroup()) -> tuple[State, list[Step]]:  # noqa: B008
    torch.manual_seed(0)
    state, steps = initial_train_state(recipe.vae(), recipe.schedule()), []
    train(state, stream, recipe.objective(), recipe.schedule(), processes=processes, after=steps.append)
    return state, steps


def same(a: State, b: State) -> bool:
    first, second = a.tensors(), b.tensors()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns(table: dict[str, Any], stream: Stream) -> None:
    table["schedule"]["samples"] = 8 * 800
    _, steps = trained(Recipe("longer", table), stream)
    last = sum(step.parts["nll"] + step.parts["kl"] for step in steps[-20:]) / 20
    assert len(steps) == 800
    guessing, entropy = 16 * math.log(2), 5.9
    assert entropy < last < guessing - 1


def test_it_repeats_itself_to_the_bit(small_recipe: Recipe, stream: Stream) -> None:
    assert same(trained(small_recipe, stream)[0], trained(small_recipe, stream)[0])


def test_the_rate_rises_and_falls_as_told(small_recipe: Recipe, stream: Stream) -> None:
    rates = [step.rate for step in trained(small_recipe, stream)[1]]
    assert rates[0] == pytest.approx(2.5e-3, rel=0.01)
    assert max(rates) == pytest.approx(5e-3, rel=0.02)
    assert rates[-1] < 1e-4
    ends_high = Schedule(samples=100, batch_size=10, learning_rate=1.0, final_rate=0.5)
    assert ends_high.rate_at(100) == pytest.approx(0.5)


def test_steps_for_the_encoder_leave_the_decoder_as_it_is(table: dict[str, Any], stream: Stream) -> None:
    table["schedule"] |= {"encoder_steps": 10**6, "encoder_samples": 10**6}
    recipe = Recipe("encoder", table)
    torch.manual_seed(0)
    before = recipe.vae()
    torch.manual_seed(0)
    after = trained(recipe, stream)[0].vae
    assert before.encoder is not None and before.decoder is not None
    assert after.encoder is not None and after.decoder is not None
    changed = [not torch.equal(*each) for each in zip(before.parameters(), after.parameters(), strict=True)]
    names = [name for name, _ in before.named_parameters()]
    assert {name.split(".")[0] for name, each in zip(names, changed, strict=True) if each} == {"encoder"}


def test_weights_that_are_zero_are_not_computed(small_recipe: Recipe, stream: Stream) -> None:
    steps = trained(small_recipe, stream)[1]
    assert "kl" not in steps[0].parts
    assert "kl" in steps[1].parts


def test_bfloat16_keeps_weights_and_losses_in_single_precision(table: dict[str, Any], stream: Stream) -> None:
    table["schedule"]["precision"] = "bf16"
    state, steps = trained(Recipe("bf16", table), stream)
    assert all(parameter.dtype == torch.float32 for parameter in state.vae.parameters())
    assert steps[-1].losses.total.dtype == torch.float32
    assert steps[-1].parts["nll"] < steps[0].parts["nll"]


COMPILED = """
import json, sys, torch
from vaekit.training.data import Stream, Tensors
from vaekit.training.loop import initial_train_state, train
from vaekit.training.recipe import Recipe
table, ends = json.loads(sys.argv[1]), []
for compiled in (False, True):
    table["schedule"]["compiled"] = compiled
    recipe = Recipe("small", table)
    torch.manual_seed(0)
    state = initial_train_state(recipe.vae(), recipe.schedule())
    train(state, Stream(Tensors(torch.load(sys.argv[2])), 3), recipe.objective(), recipe.schedule())
    ends.append(state.tensors())
for name, tensor in ends[0].items():
    torch.testing.assert_close(ends[1][name], tensor, rtol=1e-3, atol=1e-5)
"""


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_compiled_nets_learn_the_same_to_rounding(table: dict[str, Any], stream: Stream, tmp_path: Path) -> None:
    """In a process of its own: the checks of types that tests run with are not for the compiler."""
    table["schedule"]["samples"] = 40
    torch.save(stream.source.items, tmp_path / "items.pt")  # type: ignore[attr-defined]
    command = [sys.executable, "-c", COMPILED, json.dumps(table), str(tmp_path / "items.pt")]
    subprocess.run(command, check=True)


def test_the_first_average_is_what_is_kept(small_recipe: Recipe, stream: Stream) -> None:
    state, _ = trained(small_recipe, stream)
    assert state.result is state.averages[0].model
    assert not state.result.training
    near, far = (average.model.encoder.out.weight for average in reversed(state.averages))
    now = state.vae.encoder.out.weight
    assert (near - now).norm() < (far - now).norm()


class Nan(Tensors):
    def batch(self, items: Tensor, seed: int) -> Tensor:
        return super().batch(items, seed) * (math.nan if 30 in items else 1.0)


def test_a_step_that_is_no_number_is_passed_over(small_recipe: Recipe, stream: Stream) -> None:
    def poisoned(state: State) -> list[Step]:
        steps: list[Step] = []
        bad = Stream(Nan(stream.source.items), 3)  # type: ignore[attr-defined]
        train(state, bad, small_recipe.objective(), small_recipe.schedule(), after=steps.append)
        return steps

    torch.manual_seed(0)
    state = initial_train_state(small_recipe.vae(), small_recipe.schedule())
    passed = [step.state.samples for step in poisoned(state) if not math.isfinite(step.gradient)]
    assert 0 < len(passed) < 10
    assert state.samples == 320 and state.passed_over == 0
    assert all(each.isfinite().all() for each in state.tensors().values())


def test_a_loss_that_stays_no_number_stops_before_the_weights_change(small_recipe: Recipe, stream: Stream) -> None:
    torch.manual_seed(0)
    state = initial_train_state(small_recipe.vae(), small_recipe.schedule())
    before = {name: each.clone() for name, each in state.tensors().items()}
    nothing = Stream(Tensors(torch.full_like(stream.source.items, math.nan)), 3)  # type: ignore[attr-defined]
    with refuses(TrainingDiverged, "10", "nll nan"):
        train(state, nothing, small_recipe.objective(), small_recipe.schedule())
    assert all(torch.equal(each, before[name]) for name, each in state.tensors().items())


def test_micro_batches_add_up_to_the_batch(table: dict[str, Any], stream: Stream) -> None:
    """Means over the batch are the same sum; randomness belongs to a micro-batch, so nothing random is in this one."""
    table["vae"]["posterior"] = {"kind": "point"}
    table["objective"]["terms"] = {"nll": 1}
    plain = Stream(Tensors(stream.source.items), 3)  # type: ignore[attr-defined]
    whole = trained(Recipe("whole", table), plain)[0]
    table["schedule"]["micro_batch"] = 2
    parts = trained(Recipe("parts", table), plain)[0]
    for name, tensor in whole.vae.state_dict().items():
        torch.testing.assert_close(parts.vae.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(table: dict[str, Any], stream: Stream) -> None:
    table["schedule"]["micro_batch"] = 3
    with pytest.raises(BadRecipe):
        trained(Recipe("odd", table), stream)


def one_of_two(rank: int, table: dict[str, Any], items: Tensor, folder: Path) -> None:
    """A process of a run with two."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    state, steps = trained(Recipe("two", table), Stream(Tensors(items), 3), ProcessGroup(rank, 2))
    torch.save(([step.parts for step in steps], state.vae.state_dict()), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_are_one_with_the_doubled_batch(table: dict[str, Any], stream: Stream, tmp_path: Path) -> None:
    items = stream.source.items  # type: ignore[attr-defined]
    table["schedule"] |= {"micro_batch": 4, "samples": 160}
    alone, steps = trained(Recipe("one", table), Stream(Tensors(items), 3))
    multiprocessing.spawn(one_of_two, (table, items, tmp_path), nprocs=2)
    (first, weights), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for step, a, b in zip(steps, first, second, strict=True):
        for name, part in step.parts.items():
            assert (a[name] + b[name]) / 2 == pytest.approx(part, rel=1e-4, abs=1e-4)
    for name, tensor in alone.vae.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-5)
        assert torch.equal(weights[name], others[name]), "the processes drifted apart"


def test_decays_must_be_told_as_a_list(table: dict[str, Any]) -> None:
    table["schedule"]["averages"] = 0.9
    with pytest.raises(BadRecipe):
        Recipe("bad", table).schedule()


def test_one_item_at_a_time_is_refused_where_a_term_compares_items(table: dict[str, Any], stream: Stream) -> None:
    table["objective"]["terms"] = {"nll": 1, "total_correlation": {"items": 60}}
    table["schedule"]["micro_batch"] = 1
    with pytest.raises(BadRecipe):
        trained(Recipe("alone", table), stream)
