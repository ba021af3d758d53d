"""Networks in fixed-point arithmetic: the same bits, whatever the order of summation."""

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from vaekit.nets import fixed_point as module
from vaekit.nets.fixed_point import BITS, WEIGHT_BITS, activations, fixed_point, rounded


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 5)
    )


def test_rounding_is_to_the_nearest_multiple_and_halves_go_up() -> None:
    assert rounded(torch.tensor([0.5, -0.5, 1.5, 0.49, -0.51]), 0).tolist() == [1, 0, 2, 0, -1]
    assert activations(torch.tensor([5000.0, -5000.0])).tolist() == [1024, -1024]


def test_it_is_nearly_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = net()
    layers[5].padding = (2, 2)
    x = torch.randn(2, 3, 7, 9)
    exact = fixed_point(layers, x)
    torch.testing.assert_close(exact, layers(x).double().detach(), atol=5e-3, rtol=0)
    assert torch.equal(exact, rounded(exact))
    monkeypatch.setattr(module, "MOST_VALUES", 100)
    assert torch.equal(fixed_point(layers, x), exact), "bands of rows"


def test_every_sum_is_exact() -> None:
    """The result is that of rational arithmetic."""
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 1, 3)
    x = activations(torch.randn(1, 4, 3, 3) * 100)
    weights = rounded(layer.weight, WEIGHT_BITS)
    assert layer.bias is not None
    total = sum(
        Fraction(a.item()) * Fraction(b.item()) for a, b in zip(weights.flatten(), x.flatten(), strict=True)
    ) + Fraction(rounded(layer.bias).item())
    expected = math.floor(total * 2**BITS + Fraction(1, 2)) / 2**BITS
    assert fixed_point([layer], x)[0, 0, 1, 1].item() == expected


def test_other_orders_of_summation_give_the_same_bits() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(64, 8, 3, padding=1), torch.randn(1, 64, 6, 6) * 30
    expected = fixed_point([layer], x)
    for seed in range(5):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
        permuted = nn.Conv2d(64, 8, 3, padding=1)
        permuted.weight.data, permuted.bias = layer.weight.data[:, order], layer.bias
        assert torch.equal(fixed_point([permuted], x[:, order]), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(fixed_point([layer], x), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1e6])
def test_weights_that_could_be_inexact_are_refused(weight: float) -> None:
    layer = nn.Conv2d(1, 1, 1)
    layer.weight.data.fill_(weight)
    with pytest.raises(ValueError, match="too large"):
        fixed_point([layer], torch.ones(1, 1, 2, 2))


def test_other_layers_are_refused() -> None:
    with pytest.raises(TypeError):
        fixed_point([nn.Sigmoid()], torch.ones(1, 1, 2, 2))
