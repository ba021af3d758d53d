"""A network is traced once, when it is first asked for, and lowered once for each size."""

import pytest
import torch
from refusals import lacks
from row_interpreter import Net, random_map
from torch import Tensor, nn

from vaekit.runtime.streaming.tracing import SMALL
from vaekit.runtime.traced_network import CACHED_SIZES, TracedNetwork


class Counting(nn.Module):
    """A convolution that counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 3, padding=1)
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.conv(x)


def test_a_network_runs_three_times_in_all_when_it_is_first_asked_for() -> None:
    network = Counting()
    traced = TracedNetwork(network, random_map)
    assert network.runs == 0
    assert traced.is_traceable and traced.is_traceable
    assert network.runs == 3
    assert len(traced.trace.calls) == 2 and traced.trace.example[0].shape[2:] == SMALL
    assert network.runs == 3


def test_a_network_that_cannot_be_traced_is_tried_once() -> None:
    runs: list[int] = []

    def branches(x: Tensor) -> Tensor:
        runs.append(x.shape[2])
        return x.exp() if x.shape[2] > 2 else x.neg()

    network = Net(branches)
    traced = TracedNetwork(network, random_map)
    assert not traced.is_traceable
    count = len(runs)
    assert not traced.is_traceable and len(runs) == count
    with pytest.raises(AssertionError):
        _ = traced.trace


def test_a_network_of_one_size_is_not_run_at_all() -> None:
    network = Counting()
    traced = TracedNetwork(network.double(), None)
    assert not traced.is_traceable and network.runs == 0
    assert (traced.device, traced.dtype) == (torch.device("cpu"), torch.float64)


def test_device_and_dtype_are_those_of_the_input() -> None:
    traced = TracedNetwork(Counting(), lambda h, w: random_map(h, w).to(torch.bfloat16))
    assert (traced.device, traced.dtype) == (torch.device("cpu"), torch.bfloat16)


def test_layers_are_named_by_their_weights() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(nn.GroupNorm(2, 4)))
    traced = TracedNetwork(network, random_map)
    assert {traced.names[id(weight)] for weight in network.parameters()} == {"0", "1.0"}
    assert [step.label for step in traced.stages((3, 2)).steps] == ["", "0", "", "1.0"]


def test_stages_are_made_once_for_each_of_the_last_sizes() -> None:
    traced = TracedNetwork(Counting(), random_map)
    sizes = [(rows, 2) for rows in range(1, CACHED_SIZES + 1)]
    made = {size: traced.stages(size) for size in sizes}
    assert [made[size].steps[0].shape for size in sizes] == [(1, 4, *size) for size in sizes]
    assert traced.stages(sizes[0]) is made[sizes[0]]  # now the last one to be forgotten
    traced.stages((99, 2))
    assert traced.stages(sizes[0]) is made[sizes[0]]
    assert traced.stages(sizes[2]) is made[sizes[2]]
    assert traced.stages(sizes[1]) is not made[sizes[1]]


def test_the_size_in_words_is_that_of_the_image() -> None:
    decoder = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=2))
    assert not lacks(TracedNetwork(decoder, random_map).item_size((3, 5)), "10x6")
    encoder = nn.PixelUnshuffle(2)
    assert not lacks(TracedNetwork(encoder, lambda h, w: random_map(2 * h, 2 * w)).item_size((3, 5)), "10x6")
