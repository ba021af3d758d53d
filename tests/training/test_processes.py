"""Data-parallel training: sums over processes, with a stand-in for the others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, distributed, nn

from vaekit.training.processes import ProcessGroup, join_processes

CPU = torch.device("cpu")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[Tensor]]:
    """Three processes in all, of which two add the same to whatever is summed; returns what was summed."""

    def set_up(addend: float) -> list[Tensor]:
        asked: list[Tensor] = []

        def all_reduce(flat: Tensor) -> None:
            asked.append(flat.clone())
            flat.add_(2 * addend)

        monkeypatch.setattr(distributed, "all_reduce", all_reduce)
        return asked

    return set_up


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may be asked."""
    for name in ("all_reduce", "barrier", "init_process_group"):
        monkeypatch.setattr(distributed, name, lambda *_: pytest.fail("asked the other processes"))


@pytest.mark.usefixtures("alone")
def test_one_process_asks_nobody() -> None:
    group = ProcessGroup()
    layer = nn.Linear(2, 2)
    tensor = torch.ones(2)
    group.sum_([tensor])
    group.sum_gradients(layer)
    group.wait()
    assert tensor.tolist() == [1.0, 1.0] and layer.weight.grad is None
    assert group.any_(True, CPU) is True and group.any_(False, CPU) is False
    assert group.first and not ProcessGroup(1, 2).first


def test_tensors_are_summed_in_one_call_in_their_shapes(others: Callable[[float], list[Tensor]]) -> None:
    asked = others(10.0)
    tensors = [torch.ones(2, 2), torch.tensor(3.0), torch.zeros(0)]
    ProcessGroup(0, 3).sum_(iter(tensors))
    assert len(asked) == 1 and asked[0].tolist() == [1.0, 1.0, 1.0, 1.0, 3.0]
    assert torch.equal(tensors[0], torch.full((2, 2), 21.0)) and tensors[1].item() == 23.0


def test_gradients_are_summed_and_missing_ones_are_zero(others: Callable[[float], list[Tensor]]) -> None:
    others(1.0)
    layer = nn.Linear(2, 1)
    frozen = nn.Linear(1, 1).requires_grad_(False)
    layer.weight.grad = torch.tensor([[1.0, 2.0]])
    ProcessGroup(0, 3).sum_gradients(nn.Sequential(layer, frozen))
    assert layer.weight.grad.tolist() == [[3.0, 4.0]]
    assert layer.bias.grad is not None and layer.bias.grad.tolist() == [2.0]
    assert frozen.weight.grad is None


@pytest.mark.parametrize(("here", "there", "answer"), [(False, 0.0, False), (False, 1.0, True), (True, 0.0, True)])
def test_all_processes_agree(others: Callable[[float], list[Tensor]], here: bool, there: float, answer: bool) -> None:
    others(there)
    assert ProcessGroup(0, 3).any_(here, CPU) is answer


def test_all_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    monkeypatch.setattr(distributed, "barrier", lambda: waited.append(True))
    ProcessGroup(0, 2).wait()
    assert waited == [True]


@pytest.mark.usefixtures("alone")
def test_without_torchrun_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes(CPU) == (ProcessGroup(), CPU)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_processes(CPU) == (ProcessGroup(), CPU)


@pytest.mark.parametrize("ready", [True, False])
def test_torchrun_tells_how_many_there_are(monkeypatch: pytest.MonkeyPatch, ready: bool) -> None:
    begun: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "is_initialized", lambda: ready)
    monkeypatch.setattr(distributed, "init_process_group", begun.append)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    assert join_processes(CPU) == (ProcessGroup(1, 2), CPU)
    assert begun == ([] if ready else ["gloo"])
