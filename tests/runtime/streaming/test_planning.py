"""A budget is kept, told before it is spent, and changes no image."""

import re
from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from torch import Tensor

from vaekit.errors import BadPlan
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]
CPU = torch.device("cpu")
MIB = 2**20


def engine(vae: VAE, memory: str | int | None = None, backend: str = "torch") -> Engine:
    return Engine(vae, Plan(device="cpu", memory=memory, backend=backend))


def least(vae: VAE, height: int, width: int) -> int:
    """The smallest budget that the message of a refusal names, in MiB."""
    with refuses(BadPlan, "1 MiB") as refused:
        engine(vae, MIB).explain(height, width)
    return max(int(amount) for amount in re.findall(r"(\d+) MiB", str(refused.value)))


@given(st.integers(30, 90), st.integers(30, 90), st.floats(0, 1))
@settings(max_examples=8, deadline=None)
def test_any_budget_that_is_not_refused_gives_the_same(
    vae: VAE, images: Images, height: int, width: int, more: float
) -> None:
    x = images(1, height, width)
    memory = int((least(vae, height, width) + 8 * more) * MIB)
    freely, sparingly = engine(vae).reconstruct(x), engine(vae, memory).reconstruct(x)
    assert (freely - sparingly).abs().max() <= 1e-4


def test_the_budget_that_a_refusal_names_will_do(vae: VAE, tiny_vae: VAE, images: Images) -> None:
    x = images(1, 600, 400)
    for member in (vae, tiny_vae):
        running = engine(member, f"{least(member, 600, 400)}MiB")
        plans = running.explain(600, 400)
        assert all(plan.predicted_peak is not None and plan.predicted_peak <= plan.budget for plan in plans)
        assert running.reconstruct(x).shape == x.shape
