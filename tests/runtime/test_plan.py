"""A plan says what cannot be done, in words, before anything runs."""

import dataclasses

import pytest
import torch
from refusals import refuses

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.plan import DTYPES, Plan, all_planned


def test_the_defaults_are_exact() -> None:
    plan = Plan()
    assert plan.torch_encode_dtype is plan.torch_decode_dtype is torch.float32
    assert plan.torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_have_short_and_long_names(name: str) -> None:
    assert Plan(dtype=name).torch_decode_dtype.itemsize == (4 if "32" in name else 2)


def test_the_halves_may_have_dtypes_of_their_own() -> None:
    plan = Plan(dtype="bf16", encode_dtype="fp32")
    assert (plan.torch_encode_dtype, plan.torch_decode_dtype) == (torch.float32, torch.bfloat16)
    with refuses(BadPlan, "int8"):
        Plan(decode_dtype="int8")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("700 MiB", 700 << 20),
        ("1.3GB", 1_300_000_000),
        ("512k", 512_000),
        (4096, 4096),
        ("64m", 64e6),
    ],
)
def test_memory_is_told_as_people_write_it(text: str | int, size: int) -> None:
    assert Plan(memory=text).budget == size


@pytest.mark.parametrize("text", ["", "lots", "-2GiB", "0", "2 bananas", "1e9", "GiB"])
def test_what_is_no_memory_is_told_in_words(text: str) -> None:
    with refuses(BadPlan, "2GiB"):
        Plan(memory=text)


def test_an_unknown_backend_is_told_in_words() -> None:
    with refuses(BadPlan, "cuda", "auto", "torch", "ncnn"):
        Plan(backend="cuda")


def test_an_unknown_dtype_is_told_in_words() -> None:
    with refuses(BadPlan, "int4", "fp32", "bf16"):
        Plan(dtype="int4")


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_of_nothing_is_told_in_words(size: int) -> None:
    with refuses(BadPlan, size, "1"):
        Plan(batch_size=size)


@pytest.mark.parametrize("device", ["banana", "", "cuda:99", "hpu", "meta"])
def test_a_device_that_is_not_there_is_told_in_words(device: str) -> None:
    with refuses(BadPlan, device, "cpu") as caught:
        _ = Plan(device=device).torch_device
    assert len(str(caught.value)) < 500


def test_a_device_is_as_weights_have_it() -> None:
    assert Plan(device="cpu").torch_device == torch.zeros(1).device


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Plan().dtype = "bf16"  # type: ignore[misc]


def test_of_several_refusals_the_largest_is_raised() -> None:
    def refused(least: int) -> int:
        raise TooLittleMemory("", "", "", least)

    assert all_planned([lambda: 1, lambda: 2]) == [1, 2]
    for order in ((5, 9, 7), (9, 5, 7)):
        with refuses(TooLittleMemory) as raised:
            all_planned([lambda: 1, *(lambda least=each: refused(least) for each in order)])
        assert raised.value.least == 9
