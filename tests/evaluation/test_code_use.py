"""Codes counted over a data set: by hand, and however it is divided."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.evaluation.code_use import CodePool, HasCodes, code_use
from vaekit.evaluation.measures import PooledResult
from vaekit.evaluation.vae_pass import DirectRunner, VAEPass
from vaekit.nets.quantizers import FiniteScalarQuantizer, ResidualQuantizer
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.vae import VAE


def told(found: PooledResult) -> dict[str, float]:
    return {result.quantity.name: result.value for result in found.results}


def test_numbers_by_hand() -> None:
    pool = CodePool(4, 1)
    pool.add(torch.tensor([[0.0, 1.0, 1.0], [0.0, 2.0, 2.0]]))
    found = told(pool.result())
    assert found == {
        "code_usage": pytest.approx(0.75),
        "code_perplexity": pytest.approx(3.0),
        "bits_per_code": pytest.approx(math.log2(3)),
    }


def test_each_codebook_of_a_position_counts_for_itself() -> None:
    pool = CodePool(2, 2)
    pool.add(torch.tensor([[0.0, 1.0, 0.0, 0.0]]))  # the first codebook's codes 0 and 1, then the second's 0 and 0
    found = told(pool.result())
    assert found["code_usage"] == pytest.approx(0.75)
    assert found["bits_per_code"] == pytest.approx(0.5)
    assert found["code_perplexity"] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    "head", [VectorQuantizer(6, 2), FiniteScalarQuantizer((3, 4)), ResidualQuantizer(6, 2, 3)], ids=["vq", "fsq", "rvq"]
)
@torch.no_grad()
def test_division_into_batches_does_not_matter(head: torch.nn.Module) -> None:
    assert isinstance(head, HasCodes)
    vae = VAE(torch.nn.Identity(), head, torch.nn.Identity(), lambda mean: mean)  # type: ignore[arg-type, return-value]
    x = torch.randn(6, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    measure = code_use(head)

    def rows(part: Tensor) -> Tensor:
        return measure.rows(VAEPass(("",) * len(part), part, DirectRunner(vae), 0, sampled=False))

    whole, parts = measure.pool(), measure.pool()
    whole.add(rows(x))
    for part in x.split([1, 3, 2]):
        parts.add(rows(part))
    assert told(whole.result()) == told(parts.result())
    assert whole.result().results[0].count == 6
