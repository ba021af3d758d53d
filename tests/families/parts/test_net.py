"""A VAE as a record of four parts: what goes together, and what is built."""

import pytest
import torch
from refusals import refuses

from vaekit.distributions import Always, DiagonalGaussian, Point, StandardNormal, UniformCodes
from vaekit.families.parts.code_parts import FSQPart, VQPart
from vaekit.families.parts.net import (
    LIKELIHOODS,
    NETS,
    POSTERIORS,
    PRIORS,
    CustomaryPart,
    GaussianPart,
    PartsConfig,
    PointPart,
    build,
)
from vaekit.nets.likelihoods import NormalPart
from vaekit.nets.mlp import MLPConfig

NET = MLPConfig((5,), 3, (8, 4))


def test_every_part_is_registered_under_its_own_kind() -> None:
    for parts in (NETS, POSTERIORS, LIKELIHOODS, PRIORS):
        kinds = {name: part.__dataclass_fields__["kind"].default for name, part in parts.items()}
        assert kinds == {name: name for name in parts}


def test_the_geometry_is_that_of_the_net() -> None:
    config = PartsConfig(NET, GaussianPart(), NormalPart())
    assert config.geometry == NET.geometry
    assert config.blocks == NET.blocks == 3
    assert config.prior == CustomaryPart()


def test_a_posterior_needs_its_own_number_of_channels() -> None:
    assert PartsConfig(NET, FSQPart((4, 3, 3)), NormalPart())
    with refuses(ValueError, "fsq", "2", "3"):
        PartsConfig(NET, FSQPart((4, 3)), NormalPart())


@pytest.mark.parametrize(("posterior", "moments"), [(GaussianPart(), 2), (PointPart(), 1), (VQPart(7), 1)])
def test_nets_say_what_the_heads_read(posterior: GaussianPart | PointPart | VQPart, moments: int) -> None:
    encoder, decoder = build(PartsConfig(NET, posterior, NormalPart()))
    assert encoder(torch.rand(2, 5)).shape[:2] == (2, 3 * moments)
    assert decoder(torch.rand(2, 3)).shape == (2, 5 * NormalPart().outputs)


def test_heads_of_a_gaussian_and_of_a_point() -> None:
    moments = torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]])
    gaussian, point = GaussianPart().head(NET)(moments), PointPart().head(NET)(moments)
    assert isinstance(gaussian, DiagonalGaussian) and gaussian.mean.tolist() == [[1.0, 2.0, 3.0]]
    assert isinstance(point, Point) and point.mode is moments


def test_the_customary_prior_goes_with_the_posterior() -> None:
    customary = CustomaryPart()
    assert customary.head(NET, GaussianPart()) == Always(StandardNormal())
    assert customary.head(NET, VQPart(7)) == Always(UniformCodes(7))
    assert customary.head(NET, PointPart()) is None
