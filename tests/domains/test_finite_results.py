"""Non-finite results name their cause: weights, half precision, or layers."""

import pytest
import torch
from refusals import refuses

from vaekit.domains.finite_results import check_finite
from vaekit.errors import BadItem
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

RESULT = torch.tensor([[0.0, float("nan"), float("inf")]])


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_weights_are_blamed_whatever_the_dtype(tiny_vae: VAE, dtype: str) -> None:
    name, parameter = next(iter(tiny_vae.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] = float("nan")
    with refuses(BadItem, name) as caught:
        check_finite(RESULT, Engine(tiny_vae, Plan(dtype=dtype)))
    assert "half precision" not in str(caught.value)


def test_half_precision_is_blamed_only_where_it_ran(tiny_vae: VAE) -> None:
    with refuses(BadItem, "float16", "fp32"):
        check_finite(RESULT, Engine(tiny_vae, Plan(dtype="fp16")))
    with refuses(BadItem, "doctor") as caught:
        check_finite(RESULT, Engine(tiny_vae))
    assert "half precision" not in str(caught.value)


def test_finite_results_pass(tiny_vae: VAE) -> None:
    check_finite(torch.zeros(3), Engine(tiny_vae))


def test_tokens_of_broken_weights_are_refused(tiny_vae: VAE) -> None:
    tokens = torch.zeros(3, 2, dtype=torch.long)
    check_finite(tokens, Engine(tiny_vae))
    name, parameter = next(iter(tiny_vae.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] = float("inf")
    with refuses(BadItem, name):
        check_finite(tokens, Engine(tiny_vae))
