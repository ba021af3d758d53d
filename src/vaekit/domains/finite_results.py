"""Reject non-finite results of a VAE, with their cause."""

import torch
from torch import Tensor

from vaekit.errors import BadItem, counted
from vaekit.formats.tensor_file import dtype_name
from vaekit.identification.non_finite import BROKEN_WEIGHTS, count_non_finite, non_finite_text, non_finite_weights
from vaekit.runtime.engine import Engine

HALVES = (torch.float16, torch.bfloat16)


def check_finite(result: Tensor, engine: Engine) -> None:
    """Reject NaN and infinite values in the result of an engine, and tokens that were computed with such weights.

    Raises:
        BadItem: there are some. Weights are blamed if they are non-finite, else half precision if it was used.
    """
    if not result.is_floating_point():  # tokens are always finite
        check_weights(engine)
        return
    count = sum(count_non_finite(result))
    if not count:
        return
    broken = non_finite_weights(engine.vae)
    plan = engine.plan
    half = next((dtype for dtype in (plan.torch_encode_dtype, plan.torch_decode_dtype) if dtype in HALVES), None)
    found = f"The result has {counted(count, 'NaN or infinite value')}, of {result.numel():,}"
    if broken:
        raise BadItem(
            f"{found}: so are weights of the VAE, {non_finite_text(broken)}.",
            "Expected finite weights.",
            BROKEN_WEIGHTS,
        )
    if half is not None:
        raise BadItem(
            f"{found}; it was computed in {dtype_name(half)}.",
            "Expected finite values.",
            "Run the VAE in bf16 or fp32: half precision overflows in some of them.",
        )
    raise BadItem(
        f"{found}, although the weights are finite: its layers leave the range of fp32.",
        "Expected finite values.",
        "Examine it with `vaekit doctor`, which names the first such layer.",
    )


def check_weights(engine: Engine) -> None:
    """Reject a VAE with NaN or infinite weights.

    Raises:
        BadItem: it has some.
    """
    broken = non_finite_weights(engine.vae)
    if broken:
        raise BadItem(
            f"Weights of the VAE are NaN or infinite: {non_finite_text(broken)}.",
            "Expected finite weights.",
            BROKEN_WEIGHTS,
        )
