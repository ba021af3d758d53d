"""Rounded numbers, signs, residual codebooks and choices: closed forms, and the same as another library's."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from vaekit.nets.quantizers import ChoiceQuantizer, FiniteScalarQuantizer, ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer, VectorQuantizer


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def theirs() -> Any:
    return pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_every_rounded_code_stands_for_one_latent_in_the_cube(levels: list[int]) -> None:
    head = FiniteScalarQuantizer(levels)
    codes = torch.arange(head.size)
    latents = head.embed(codes)
    assert latents.shape == (math.prod(levels), len(levels))
    assert len(latents.unique(dim=0)) == head.size
    assert latents.abs().max() <= 1
    assert (latents == 0).all(dim=1).sum() == 1
    for channel, count in enumerate(levels):
        assert len(latents[:, channel].unique()) == count
    # What is bounded to a latent is coded as it.
    reach = (torch.tensor(levels) - 1) * 1.001 / 2
    offset = torch.where(torch.tensor(levels) % 2 == 0, 0.5, 0.0)
    bounded = latents * torch.tensor([each // 2 for each in levels])
    moments = torch.atanh((bounded + offset) / reach) - torch.atanh(offset / reach)
    found = head(moments)
    assert torch.equal(found.codes, codes)
    assert torch.equal(found.embedded, latents)


def test_rounding_reaches_every_level_and_no_other() -> None:
    head = FiniteScalarQuantizer((8, 5, 2))
    moments = torch.linspace(-20, 20, 4001)[:, None].expand(-1, 3)
    codes = head(moments).codes
    assert [len((codes // place % levels).unique()) for place, levels in ((1, 8), (8, 5), (40, 2))] == [8, 5, 2]
    assert codes.min() >= 0 and codes.max() < 80


def test_a_rounded_number_has_the_gradient_of_its_bound() -> None:
    moments = torch.tensor([[0.3], [-1.1]], requires_grad=True)
    FiniteScalarQuantizer((5,))(moments).sample().sum().backward()
    slope = (1 - torch.tanh(moments.detach()).square()) * 2 * 1.001 / 2
    assert moments.grad is not None
    torch.testing.assert_close(moments.grad, slope)


def test_rounding_is_that_of_vector_quantize_pytorch() -> None:
    module = theirs()
    levels = [8, 5, 5, 4]
    moments = 3 * noise(4, 4, 6, 5)
    expected, codes = module.FSQ(levels)(moments)
    found = FiniteScalarQuantizer(levels)(moments)
    assert torch.equal(found.codes, codes.long())
    torch.testing.assert_close(found.mean, expected)


def test_signs_are_bits() -> None:
    head = SignQuantizer(3)
    found = head(torch.tensor([[0.2, -0.1, 3.0], [0.0, -0.0, -5.0]]))
    assert found.codes.tolist() == [0b101, 0b011]
    assert found.embedded.tolist() == [[1, -1, 1], [1, 1, -1]]
    codes = torch.arange(8)
    assert torch.equal(head(head.embed(codes)).codes, codes)


def test_signs_are_those_of_vector_quantize_pytorch() -> None:
    module = theirs()
    moments = noise(4, 6, 3, 5)
    expected, codes, _ = module.LFQ(dim=6, codebook_size=64)(moments)
    found = SignQuantizer(6)(moments)
    flipped = sum((found.codes >> bit & 1) << (5 - bit) for bit in range(6))  # its first channel is the highest bit
    assert torch.equal(flipped, codes.long())
    torch.testing.assert_close(found.mean, expected)


@pytest.mark.parametrize("cosine", [False, True])
def test_codes_are_those_of_vector_quantize_pytorch(cosine: bool) -> None:
    module = theirs()
    moments = noise(2, 4, 6, 5)
    their = module.VectorQuantize(4, 32, use_cosine_sim=cosine, accept_image_fmap=True).eval()
    head = (CosineQuantizer if cosine else VectorQuantizer)(32, 4)
    with torch.no_grad():
        head.codebook.copy_(noise(32, 4, seed=1))
    their.codebook = head.vectors.detach().clone()
    expected, codes, _ = their(moments)
    found = head(moments)
    assert torch.equal(found.codes, codes)
    torch.testing.assert_close(found.mean, expected)


def test_the_temperature_follows_from_samples_and_choices_are_hard_outside_training() -> None:
    head = ChoiceQuantizer(4, relaxed=True).train()
    head.anneal(lambda samples: 1 / (1 + samples))
    moments = noise(2, 4, 3)
    for samples in (0, 99):
        head.at(samples)
        assert head(moments).temperature == 1 / (1 + samples)
    head.at(0)
    soft = head(moments).sample(Generator().manual_seed(0))
    hard = head.eval()(moments).sample(Generator().manual_seed(0))
    assert ((soft > 0) & (soft < 1)).all()
    assert torch.equal(hard, hard.round())
    assert torch.equal(head.embed(hard.argmax(dim=1)), hard)


def test_the_first_stages_are_a_coarser_description() -> None:
    torch.manual_seed(0)
    head, moments = ResidualQuantizer(16, 4, 3), torch.randn(2, 4, 50)
    every = head(moments)
    head.use(2)
    first = head(moments)
    assert head.choices == 2 and torch.equal(first.codes, every.codes[:, :2])
    torch.testing.assert_close(head.embed(first.codes), first.embedded)
    torch.testing.assert_close(head.embed(every.codes), every.embedded)
    head.use(3)
    assert torch.equal(head(moments).codes, every.codes)
    for choices in (0, 4):
        with pytest.raises(ValueError, match="of 3"):
            head.use(choices)
