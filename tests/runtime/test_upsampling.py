"""Four small convolutions for a large one: the same numbers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny import net as tiny
from vaekit.runtime.streaming.tracing import Trace, trace
from vaekit.runtime.upsampling import EnlargedConv, with_enlarged_convs


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (7, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_four_small_convolutions_are_one_large_one(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(6, 5, 3, padding=1, bias=bias), torch.randn(2, 6, *size)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        enlarged = F.interpolate(given, scale_factor=2.0, mode="nearest")
        torch.testing.assert_close(EnlargedConv(conv)(enlarged), conv(enlarged), atol=1e-5, rtol=0)


def traced(network: nn.Module) -> tuple[Trace, dict[int, str]]:
    names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
    return trace(network, lambda rows, columns: torch.randn(1, 4, rows, columns)), names


def changed(network: nn.Module) -> tuple[nn.Module, int]:
    """A network with its convolutions replaced, and how many were."""
    copied = with_enlarged_convs(network, *traced(network))
    return copied, sum(isinstance(layer, EnlargedConv) for layer in copied.modules())


def test_a_decoder_has_one_for_each_doubling(small_kl: KLConfig) -> None:
    torch.manual_seed(0)
    _, decoder = kl.build(replace(small_kl, encoder_widths=(8, 8, 16), decoder_widths=(8, 8, 16)))
    z = torch.randn(2, 4, 5, 3)
    with torch.no_grad():
        expected = decoder(z)
        copied, count = changed(decoder)
        assert count == 2
        torch.testing.assert_close(copied(z), expected, atol=1e-5, rtol=0)
        assert [id(weight) for weight in copied.parameters()] == [id(weight) for weight in decoder.parameters()]
        assert not any(isinstance(layer, EnlargedConv) for layer in decoder.modules())


def test_layers_of_torch_are_found_too() -> None:
    torch.manual_seed(0)
    _, decoder = tiny.build(tiny.TinyConfig(3, 4, (), (8,) * 3, (8,) * 3, (1, 1, 1), (1, 1, 1), False))
    copied, count = changed(decoder.eval())
    z = torch.randn(1, 4, 5, 3)
    with torch.no_grad():
        torch.testing.assert_close(copied(z), decoder(z), atol=1e-5, rtol=0)
    assert count == 2


class Twice(nn.Module):
    """A convolution of an enlarged map that is used by something else too, or that is another kind of convolution."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        mode = "reflect" if kind == "reflects" else "zeros"
        self.conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode, groups=2 if kind == "groups" else 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "bilinear":
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="bilinear"))
        if self.kind == "threefold":
            return self.conv(F.interpolate(x, scale_factor=3.0, mode="nearest"))
        large = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if self.kind == "again":
            return self.conv(self.conv(large))
        return self.conv(large) + (large if self.kind == "used" else 0)


@pytest.mark.parametrize("kind", ["used", "again", "reflects", "groups", "bilinear", "threefold"])
def test_others_are_left_alone(kind: str) -> None:
    network = Twice(kind)
    assert with_enlarged_convs(network, *traced(network)) is network
