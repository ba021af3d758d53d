"""Every function of a network is seen, under the name of the module that called it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.doctor.activations import calls_in_half, run_rounded, run_watched


class Block(nn.Module):
    """A residual block whose sum is larger than its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.conv.weight, 1.0)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class Careful(nn.Module):
    """Squares in fp32 whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        return exact.square().sqrt().to(x.dtype)


def test_a_sum_is_seen_beside_the_layers() -> None:
    network = nn.Sequential(Block(), nn.Tanh())
    _, seen = run_watched(network, "decoder", torch.full((1, 1, 2, 2), 40_000.0))
    largest = {activity.place: activity.largest for activity in seen.values()}
    assert largest == {
        "decoder.0.conv": 40_000.0,
        "decoder.0 (add)": 80_000.0,
        "decoder.0 (relu)": 80_000.0,
        "decoder.1": 1.0,
    }


def test_images_are_counted_together_and_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(Block())
    items = torch.tensor([1.0, -3.0, math.nan]).view(3, 1, 1, 1)
    made, seen = run_watched(network, "encoder", items)
    conv = next(iter(seen.values()))
    assert (conv.count, conv.nan, conv.infinite, conv.largest) == (3, 1, 0, 3.0)
    assert torch.equal(made.nan_to_num(7.0).flatten(), torch.tensor([2.0, 0.0, 7.0]))
    assert not network[0]._forward_hooks and not network[0]._forward_pre_hooks


def test_hooks_are_gone_after_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 1))
    try:
        run_watched(network, "encoder", torch.zeros(1, 1, 2, 2))
    except RuntimeError:
        assert not network[0]._forward_pre_hooks
    else:
        raise AssertionError


def test_what_is_made_in_fp32_on_purpose_is_not_held_to_fp16() -> None:
    network = nn.Sequential(Careful(), Block())
    calls = calls_in_half(network, "decoder", torch.zeros(1, 1, 2, 2))
    assert ("decoder.0", "square", 1) not in calls
    assert ("decoder.1.conv", "conv2d", 1) in calls
    items = torch.full((1, 1, 2, 2), 300.0)
    assert run_rounded(network, "decoder", items, torch.float16, calls).unique().item() == 600.0


def test_rounding_is_what_the_dtype_does() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    items = torch.randn(2, 3, 8, 8)
    calls = calls_in_half(network, "decoder", items[:1])
    with torch.no_grad():
        exact = network(items)
        for dtype in (torch.float16, torch.bfloat16):
            real = nn.Sequential(*network).to(dtype)(items.to(dtype)).float()
            network.float()
            ours = run_rounded(network, "decoder", items, dtype, calls)
            errors = [(made - exact).abs().mean().item() for made in (real, ours)]
            assert 0.7 < errors[0] / errors[1] < 1.4
