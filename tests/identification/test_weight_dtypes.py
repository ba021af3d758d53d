"""One dtype for the weights of a VAE."""

import itertools

import pytest
import torch

from vaekit.identification.weight_dtypes import LOADED, common_dtype, rounds

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
WIDE = getattr(torch, "float8_e8m0fnu", None)
EIGHT_BITS = (*FP8, *([WIDE] if WIDE else []))


@pytest.mark.parametrize("dtype", LOADED, ids=str)
def test_a_single_dtype_is_kept(dtype: torch.dtype) -> None:
    assert common_dtype([dtype, dtype, torch.int64]) == dtype
    for fp8 in FP8:
        assert common_dtype([fp8, dtype]) == dtype


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_fp8_alone_is_computed_in_bfloat16_which_holds_it(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    exact = every.float()
    finite = exact.isfinite()
    assert common_dtype([dtype]) == torch.bfloat16
    for loaded in LOADED:
        if not rounds(dtype, loaded):
            assert torch.equal(every.to(loaded).float()[finite], exact[finite])


def test_mixtures_get_the_narrowest_dtype_that_holds_all() -> None:
    half, brain, single, double = torch.float16, torch.bfloat16, torch.float32, torch.float64
    assert common_dtype([half, brain]) == single
    assert common_dtype([half, single]) == common_dtype([brain, single]) == single
    assert common_dtype([double, half]) == double
    if WIDE:
        assert common_dtype([WIDE, half]) == single
    for pair in itertools.product((*LOADED, *EIGHT_BITS), repeat=2):
        assert not any(rounds(old, common_dtype(pair)) for old in pair)
    assert common_dtype([]) == brain
