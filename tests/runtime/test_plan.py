"""A plan says what cannot be done, in words, before anything runs."""

import dataclasses

import pytest
import torch

from vaekit.errors import BadPlan
from vaekit.runtime.plan import DTYPES, Plan


def test_the_defaults_are_exact() -> None:
    plan = Plan()
    assert (plan.torch_dtype, plan.batch_size) == (torch.float32, 1)
    assert plan.torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_have_short_and_long_names(name: str) -> None:
    assert Plan(dtype=name).torch_dtype.itemsize == (4 if "32" in name else 2)


def test_an_unknown_dtype_is_told_in_words() -> None:
    with pytest.raises(BadPlan, match=r"no dtype 'int4'\. Expected one of fp32, .*bf16"):
        Plan(dtype="int4")


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_of_nothing_is_told_in_words(size: int) -> None:
    with pytest.raises(BadPlan, match=rf"batch size of {size} .*Expected 1 or more"):
        Plan(batch_size=size)


@pytest.mark.parametrize("device", ["banana", "", "cuda:99", "hpu", "meta"])
def test_a_device_that_is_not_there_is_told_in_words(device: str) -> None:
    with pytest.raises(BadPlan, match=rf"The device '{device}' cannot be used here: .*such as cpu\. Leave") as caught:
        _ = Plan(device=device).torch_device
    assert len(str(caught.value)) < 500


def test_a_device_is_as_weights_have_it() -> None:
    assert Plan(device="cpu").torch_device == torch.zeros(1).device


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Plan().dtype = "bf16"  # type: ignore[misc]
