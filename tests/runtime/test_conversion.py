"""Conversion of VAEs to dtypes."""

import pytest
import torch
from refusals import refuses

from vaekit.errors import BadPlan
from vaekit.runtime.conversion import check_range, converted, in_double
from vaekit.vae import VAE

CPU = torch.device("cpu")


def test_halves_get_their_own_dtypes_and_the_original_is_kept(tiny_vae: VAE) -> None:
    halved = converted(tiny_vae, CPU, torch.float16, torch.bfloat16)
    dtypes = {name.split(".")[0]: weight.dtype for name, weight in halved.named_parameters()}
    assert (dtypes["encoder"], dtypes["decoder"]) == (torch.float16, torch.bfloat16)
    assert all(weight.dtype == torch.float32 for weight in tiny_vae.parameters())


def test_nothing_is_copied_if_nothing_changes(tiny_vae: VAE) -> None:
    assert converted(tiny_vae.eval(), CPU, torch.float32, torch.float32) is tiny_vae


@pytest.mark.parametrize(("value", "dtype"), [(7e4, torch.float16), (65_520.0, torch.float16)])
def test_values_out_of_range_are_refused(value: float, dtype: torch.dtype) -> None:
    with refuses(BadPlan, "float16"):
        check_range("encoder.weight", torch.tensor([value]), dtype)
    check_range("encoder.weight", torch.tensor([value]), torch.bfloat16)


def test_double_precision_includes_heads_and_keeps_the_original(tiny_vae: VAE) -> None:
    double = in_double(tiny_vae, CPU)
    assert {weight.dtype for weight in double.state_dict().values() if weight.is_floating_point()} == {torch.float64}
    assert not any(weight.requires_grad for weight in double.parameters()) and not double.training
    assert all(weight.dtype == torch.float32 for weight in tiny_vae.parameters())
