"""Latents with a hyperprior as bytes: exact on both sides, and as small as their probabilities allow."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vaekit.codec.hyper_coding import CodedLatents, decode_values, encode_values
from vaekit.codec.scale_tables import step_of
from vaekit.errors import BadArchive
from vaekit.nets.hyperprior import Hyperprior, HyperpriorConfig, HyperpriorOf

pytest.importorskip("constriction")


def prior(seed: int, slices: tuple[int, ...] = (3, 5)) -> Hyperprior:
    """Random nets, whose means and scales vary."""
    torch.manual_seed(seed)
    net = Hyperprior(HyperpriorConfig(slices, 8, 4, 8)).eval()
    net.set_units(torch.rand(sum(slices)) + 0.5)
    for each in net.slices:
        torch.nn.init.normal_(each[-1].weight, std=0.4)  # type: ignore[index, arg-type]
    return net


def values_of(net: Hyperprior, size: tuple[int, int], spread: float = 1.0) -> torch.Tensor:
    return torch.randn(1, net.config.channels, *size) * spread


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (9, 2)])
@pytest.mark.parametrize("code", [-256, -30, 0, 64])
def test_values_come_back_within_half_a_step(size: tuple[int, int], code: int) -> None:
    net = prior(0)
    values = values_of(net, size)
    back = decode_values(net, encode_values(net, values, code), size, code)
    assert back.shape == values.shape
    assert (back - values).abs().max() <= step_of(code) / 2 + 1e-5


def test_coding_again_gives_the_same_bytes() -> None:
    net = prior(1)
    values = values_of(net, (6, 6))
    first = encode_values(net, values, -40)
    again = encode_values(net, decode_values(net, first, (6, 6), -40).float(), -40)
    assert first.words.tolist() == encode_values(net, values, -40).words.tolist()
    assert again.checksum != 0


def test_the_size_is_the_negative_logarithm_of_the_probability() -> None:
    net = prior(2)
    values = values_of(net, (32, 32))
    code = -96
    coded = encode_values(net, values, code)
    rounded = decode_values(net, coded, (32, 32), code).float()
    z = torch.cat([rounded, torch.full_like(rounded[:, :1], code / 64)], dim=1)
    with torch.no_grad():
        density = HyperpriorOf(net).log_prob(z).item()
    nats = -(density + math.log(2) * code / 64 * values.numel())
    assert abs(32 * len(coded.words) - nats / math.log(2)) < 0.01 * nats / math.log(2) + 64


def test_values_far_beyond_the_tables_come_back() -> None:
    net = prior(3)
    values = values_of(net, (4, 4))
    values[0, 0, 0, 0], values[0, 5, 2, 1] = 900.0, -1234.0
    back = decode_values(net, encode_values(net, values, 0), (4, 4), 0)
    assert (back - values).abs().max() <= 0.5 + 1e-5


def test_other_threads_and_another_layout_in_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net = prior(4)
    values = values_of(net, (8, 8))
    coded = encode_values(net, values, -64)
    expected = decode_values(net, coded, (8, 8), -64)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            assert torch.equal(decode_values(net, coded, (8, 8), -64), expected)
            again = encode_values(net, values.contiguous(memory_format=torch.channels_last), -64)
            assert np.array_equal(again.words, coded.words)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr("vaekit.nets.fixed_point.MOST_VALUES", 64)
    assert torch.equal(decode_values(net, coded, (8, 8), -64), expected)


def test_damage_is_noticed() -> None:
    net = prior(5)
    values = values_of(net, (6, 6))
    coded = encode_values(net, values, -64)
    for place in range(len(coded.words)):
        words = coded.words.copy()
        words[place] ^= np.uint32(1 << (place % 32))
        with pytest.raises(BadArchive):
            decode_values(net, replace(coded, words=words), (6, 6), -64)
    with pytest.raises(BadArchive):
        decode_values(net, CodedLatents(coded.words[:-2], coded.checksum), (6, 6), -64)
    with pytest.raises(BadArchive):
        decode_values(prior(6), coded, (6, 6), -64)
    with pytest.raises(BadArchive):
        decode_values(net, coded, (6, 7), -64)
