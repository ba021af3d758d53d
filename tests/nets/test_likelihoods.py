"""Heads that read parameters: where a scale comes from, and which column is what."""

import pytest
import torch
from torch import Generator, nn

from vaekit.distributions import DiscretizedLogistic, DiscretizedLogisticMixture, Laplace, Normal
from vaekit.nets.likelihoods import (
    LaplacePart,
    LogisticMixturePart,
    LogisticPart,
    NormalPart,
    ScaledPart,
)
from vaekit.nets.mlp import MLPConfig

IMAGES = MLPConfig((3, 4, 4), 2, (8,))
ROWS = MLPConfig((5,), 2, (8,))
SCALED: list[tuple[type[ScaledPart], type]] = [
    (NormalPart, Normal),
    (LaplacePart, Laplace),
    (LogisticPart, DiscretizedLogistic),
]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.mark.parametrize(("part", "family"), SCALED, ids=lambda each: each.__name__)
@pytest.mark.parametrize("variance", ["fixed", "global", "channel", "each"])
@pytest.mark.parametrize("net", [IMAGES, ROWS], ids=["images", "rows"])
def test_every_scale_begins_where_it_is_told_and_is_learned(
    part: type[ScaledPart], family: type, variance: str, net: MLPConfig
) -> None:
    chosen = part(scale=0.25, variance=variance)
    head = chosen.head(net)
    location = torch.randn(2, *net.data_shape, generator=seeded()).clamp(-1, 1).requires_grad_()
    said = torch.cat([location, torch.zeros_like(location)], dim=1) if chosen.outputs == 2 else location
    p = head(said)
    x = torch.rand(2, *net.data_shape, generator=seeded(1))
    assert isinstance(p, family)
    torch.testing.assert_close(p.log_prob(x), family(location, 0.25).log_prob(x))
    learned = {name: tuple(each.shape) for name, each in head.named_parameters()} if isinstance(head, nn.Module) else {}
    shapes = {"global": (), "channel": (3, 1, 1) if net is IMAGES else (5,)}
    assert learned == ({"log_scale": shapes[variance]} if variance in shapes else {})
    p.log_prob(x).sum().backward()
    if isinstance(head, nn.Module):
        assert all(each.grad is not None and each.grad.all() for each in head.parameters())


def test_a_learned_scale_finds_the_spread_of_the_data() -> None:
    x = torch.tensor([0.5, 2.0, 0.1]) * torch.randn(500, 3, generator=seeded())
    head = NormalPart(variance="channel").head(MLPConfig((3,), 2, (8,)))
    assert isinstance(head, nn.Module)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-head(torch.zeros(500, 3)).log_prob(x).mean()).backward()
        optimizer.step()
    torch.testing.assert_close(next(head.parameters()).exp(), x.square().mean(dim=0).sqrt(), rtol=0.01, atol=0)


def test_a_value_that_never_varies_is_worth_a_bounded_number_of_nats() -> None:
    said = torch.full((1, 10), -500.0)
    said[:, :5] = 0
    assert NormalPart(variance="each").head(ROWS)(said).log_prob(torch.zeros(1, 5)).item() < 5 * 7


def test_a_mixture_says_three_numbers_a_component() -> None:
    part = LogisticMixturePart(components=4)
    assert part.outputs == 12
    assert isinstance(part.head(IMAGES)(torch.zeros(2, 36, 4, 4)), DiscretizedLogisticMixture)


def test_a_variance_or_scale_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"variance": "some"}, {"scale": 0.0}):
        for part in (NormalPart, LaplacePart, LogisticPart):
            with pytest.raises(ValueError):
                part(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        LogisticMixturePart(components=0)
