"""Heads of table rows: the likelihood and the scale of each column."""

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor

from vaekit.distributions import Bernoulli, Columns, Normal
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.mlp import MLPConfig

ROWS = MLPConfig((5,), 2, (8,))


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("variance", ["fixed", "channel", "each"])
def test_each_column_has_the_likelihood_that_it_is_told(variance: str) -> None:
    part = ColumnsPart(("bernoulli", "normal:2", "bernoulli", "normal"), scale=0.5, variance=variance)
    said = torch.randn(4, 5 * part.outputs, generator=seeded())
    p = part.head(ROWS)(said)
    assert isinstance(p, Columns)
    x = p.sample(seeded(1))
    assert set(x[:, [0, 3]].unique().tolist()) <= {0.0, 1.0}
    scale: Tensor | float = 0.5 * said[:, [6, 7, 9]].exp() if variance == "each" else 0.5
    normal = Normal(said[:, [1, 2, 4]], scale).log_prob(x[:, [1, 2, 4]])
    torch.testing.assert_close(p.log_prob(x), normal + Bernoulli(said[:, [0, 3]]).log_prob(x[:, [0, 3]]))
    torch.testing.assert_close(p.mode[:, [1, 2, 4]], said[:, [1, 2, 4]])
    assert torch.equal(p.mode[:, [0, 3]], (said[:, [0, 3]] > 0).float())


@pytest.mark.parametrize(
    "words", [("normal",), ("bernoulli:5",), ("normal:0",), ("color",), (), ("normal:x",), ("normal:99999",)]
)
def test_columns_of_one_kind_work_and_nonsense_is_refused(words: tuple[str, ...]) -> None:
    if words in (("normal",), ("bernoulli:5",)):
        part = ColumnsPart(words)
        count = sum(part.counts().values())
        p = part.head(MLPConfig((count,), 2, (8,)))(torch.zeros(3, count))
        assert p.log_prob(p.sample(seeded())).isfinite().all()
        return
    with pytest.raises(ValueError):
        ColumnsPart(words)


def test_columns_and_the_net_are_of_one_width() -> None:
    with refuses(ValueError, "4"):
        ColumnsPart(("normal:4",)).head(ROWS)
