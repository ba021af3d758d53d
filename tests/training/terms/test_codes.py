"""Terms about codes, against closed forms."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import Choices
from vaekit.errors import BadRecipe
from vaekit.nets.quantizers import SignQuantizer
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.training.objectives import Pass
from vaekit.training.terms.codes import entropy_of, joint_probabilities
from vaekit.training.terms.table import TERMS
from vaekit.vae import VAE


def seen_by(head: Any, x: Tensor, samples: int = 0) -> Pass:
    vae = VAE(torch.nn.Identity(), head, torch.nn.Identity(), lambda mean: mean)  # type: ignore[arg-type, return-value]
    return Pass(vae, x, samples, Generator().manual_seed(0))


def test_commitment_moves_the_encoder_and_codebook_the_codes() -> None:
    head = VectorQuantizer(4, 2)
    x = torch.randn(3, 2, 5, requires_grad=True)
    expected = (x - head.embed(head(x).codes)).square().mean(dim=(1, 2))
    for name, moved, still in (("commitment", x, head.codebook), ("codebook", head.codebook, x)):
        value = TERMS[name]().compute(seen_by(head, x))
        torch.testing.assert_close(value, expected)
        moved.grad = still.grad = None
        value.sum().backward()
        assert moved.grad is not None and moved.grad.abs().sum() > 0
        assert still.grad is None


def test_entropy_is_that_of_all_codes_together() -> None:
    x = 0.02 * torch.randn(5, 3, 4, generator=Generator().manual_seed(0))
    codes = SignQuantizer(3).embed(torch.arange(8))
    distances = (x.movedim(1, -1).reshape(-1, 1, 3) - codes).square().sum(dim=2)
    chances = (-distances / 0.05).softmax(dim=1)
    alone = torch.special.entr(chances).sum(dim=1).mean()
    pooled = torch.special.entr(chances.mean(dim=0)).sum()
    found = TERMS["entropy"](temperature=0.05, diversity=0.7).compute(seen_by(SignQuantizer(3), x))
    torch.testing.assert_close(found, alone - 0.7 * pooled)
    apart = TERMS["entropy"](temperature=0.05, diversity=0.7, together=2).compute(seen_by(SignQuantizer(3), x))
    assert apart <= found + 1e-6, "entropies of groups bound that of all from above"


def test_entropy_is_that_of_vector_quantize_pytorch() -> None:
    module = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")
    x = 0.02 * torch.randn(5, 4, 3, 2, generator=Generator().manual_seed(0))
    _, reference = module.LFQ(dim=4, codebook_size=16).train()(x, return_loss_breakdown=True)
    found = TERMS["entropy"]().compute(seen_by(SignQuantizer(4), x))
    torch.testing.assert_close(found, reference.per_sample_entropy - reference.batch_entropy, rtol=1e-3, atol=1e-4)


def test_terms_about_codes_need_codes() -> None:
    for name in ("commitment", "codebook", "entropy"):
        with pytest.raises(BadRecipe):
            TERMS[name]().compute(seen_by(Choices, torch.randn(2, 3)))


def test_the_entropy_of_certain_chances_is_0_with_a_finite_gradient() -> None:
    chances = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    entropy_of(chances).backward()
    assert entropy_of(chances).item() == 0
    assert chances.grad is not None and chances.grad.isfinite().all()
    torch.testing.assert_close(entropy_of(torch.full((8,), 1 / 8)), torch.tensor(8.0).log())


def test_chances_of_codes_are_products_of_those_of_their_signs() -> None:
    plus = torch.tensor([[0.9, 0.4]])
    found = joint_probabilities((1 - plus).log(), plus.log())
    torch.testing.assert_close(found, torch.tensor([[0.1 * 0.6, 0.9 * 0.6, 0.1 * 0.4, 0.9 * 0.4]]))
