"""Small images on a CPU: the network runs whole, for slabs would cost more than they save."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaekit.runtime import whole_runner as whole
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming import forecast, planning
from vaekit.runtime.streaming import slab_runner as slabs
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]


@pytest.fixture(autouse=True)
def in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold as it is, and no slabs where none are expected."""
    monkeypatch.setattr(whole, "LEAST_PRODUCTS", planning.LEAST_PRODUCTS)


@pytest.mark.parametrize("batch", [1, 3])
def test_small_images_are_done_whole_and_say_the_same(
    vae: VAE, images: Images, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images(batch, 21, 30)
    in_slabs = Engine(vae, Plan(backend="ncnn")).reconstruct(x)
    monkeypatch.setattr(slabs, "run_stages", None)
    made = Engine(vae, Plan()).reconstruct(x)
    torch.testing.assert_close(made, in_slabs, atol=1e-4, rtol=0)
    assert torch.equal(made[-1:], Engine(vae, Plan()).reconstruct(x[-1:]))


def test_the_plan_says_so(vae: VAE) -> None:
    for size, backend, stages in (((64, 64), "torch", {1}), ((2048, 2048), "ncnn", None)):
        plans = Engine(vae, Plan()).explain(*size)
        assert {plan.backend for plan in plans} == {backend}
        assert stages is None or {plan.stages for plan in plans} == stages
    assert {plan.backend for plan in Engine(vae, Plan(backend="ncnn")).explain(64, 64)} == {"ncnn"}


def test_a_budget_that_does_not_hold_all_maps_is_kept_by_slabs(vae: VAE) -> None:
    plans = [
        Engine(vae, Plan(memory=memory, backend="torch")).explain(512, 512)[1] for memory in (None, "512MiB", "48MiB")
    ]
    assert [plan.stages > 1 for plan in plans] == [False, False, True]
    assert plans[0].predicted_peak == plans[1].predicted_peak
    assert plans[0].predicted_peak is not None and plans[0].predicted_peak > 48 << 20


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_runs_whole_too(vae: VAE, images: Images, dtype: str) -> None:
    x = images(2, 16, 24)
    expected = Engine(vae, Plan()).reconstruct(x)
    running = Engine(vae, Plan(dtype=dtype))
    torch.testing.assert_close(running.reconstruct(x), expected, atol=0.05, rtol=0.05)
    assert running.notes == ()


@pytest.mark.parametrize(("most", "contiguous"), [(16 << 20, False), (0, True)])
def test_attention_runs_on_contiguous_tensors_where_it_would_take_much_memory(
    most: int, contiguous: bool, vae: VAE, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, seen = images(1, 32, 24), list[bool]()
    expected = Engine(vae, Plan(device="cpu")).reconstruct(x)
    plain = torch.nn.functional.scaled_dot_product_attention

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is plain:
                seen.append(all(each.is_contiguous() for each in args[:3]))
            return func(*args, **(kwargs or {}))

    engine = Engine(vae, Plan(device="cpu"))
    engine.explain(32, 24)
    monkeypatch.setattr(forecast, "MANY_PRODUCTS", most)
    with Watching():
        made = engine.reconstruct(x)
    assert seen == [contiguous] * 2
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
