"""A few of the random round trips of `bench/codec_fuzz.py`, within this process and with another number of threads."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vaekit.codec.chain import bits_back_chain, chain_items

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("codec_cases", BENCH / "codec_cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("first", range(0, 24, 8))
def test_round_trips(cases: ModuleType, first: int) -> None:
    threads = torch.get_num_threads()
    for seed in range(first, first + 8):
        each = cases.case(seed)
        content = bits_back_chain(each.coding, each.x, each.batch).content
        torch.set_num_threads(1 + seed % 3)
        try:
            found = chain_items(each.coding, content, len(each.x))
        finally:
            torch.set_num_threads(threads)
        assert each.coding.plain(found) == each.coding.plain(each.x), f"seed {seed}, {each.label}"
