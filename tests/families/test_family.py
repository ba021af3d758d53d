"""The interface of a family: its defaults, and how detectors read shapes."""

from dataclasses import dataclass, replace

import pytest
import torch
from refusals import refuses

from vaekit.distributions import Point, StandardNormal
from vaekit.errors import WrongTensors
from vaekit.families.family import (
    Config,
    Family,
    conv_shape,
    first_shape,
    highest,
    no_diffusers_class,
    no_prior,
    refuse_obstacles,
)
from vaekit.families.layout import Layout
from vaekit.families.normalization import BATCH_NORM, COUNT, MEAN, VARIANCE
from vaekit.geometry import Geometry
from vaekit.normalization import LatentNormalization


@dataclass(frozen=True)
class ToyConfig:
    latent_channels: int = 2

    @property
    def geometry(self) -> Geometry:
        return Geometry(3, self.latent_channels, (2, 2))

    @property
    def blocks(self) -> int:
        return 1


TOY = Family(
    name="toy",
    config=ToyConfig,
    layouts=(Layout("native", "toy", (("encoder.{p}", "encoder.{p}"),)),),
    detect=lambda _: ToyConfig(),
    build=lambda _: (None, None),
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Point,
)


def test_the_defaults_of_a_family() -> None:
    config = ToyConfig()
    assert isinstance(config, Config)
    prior = TOY.prior_head(config)
    assert prior is not None and isinstance(prior(Point), StandardNormal)
    assert no_prior(config) is None
    assert TOY.complete(config, {"norm_groups": 4}, {"norm_num_groups": 8}) is config
    assert TOY.assumed(config) == []
    assert TOY.normalization_from_settings({"scaling_factor": 0.5}) == LatentNormalization((0.0,), (0.5,))
    assert TOY.outside_nets == frozenset()
    assert TOY.normalization_tensors_for(config, LatentNormalization(patch=2)) == {}
    assert TOY.claims([])


def test_a_family_without_a_class_in_diffusers_is_refused_by_name() -> None:
    with refuses(WrongTensors, "Toy", '"native"'):
        no_diffusers_class(ToyConfig(), None)
    with refuses(WrongTensors, "Toy"):
        TOY.diffusers(ToyConfig(), None)


def test_a_required_key_tells_families_with_the_same_names_apart() -> None:
    family = replace(TOY, requires=("codebook", "decoder.extra."))
    assert family.claims(["encoder.weight", "codebook", "decoder.extra.0.weight"])
    assert not family.claims(["codebook", "decoder.extraordinary.weight"])
    assert not family.claims(["decoder.extra.0.weight", "a.codebook"])


def test_the_tensors_of_a_normalization_are_beside_the_nets() -> None:
    family = replace(TOY, normalization_tensors=BATCH_NORM)
    assert family.outside_nets == {MEAN, VARIANCE, COUNT}
    tensors = family.normalization_tensors_for(ToyConfig(), LatentNormalization((1.0,), (0.5,), 2))
    assert tensors.keys() == family.outside_nets
    assert torch.equal(tensors[MEAN], torch.ones(8))
    assert family.normalization_tensors_for(ToyConfig(), LatentNormalization((1.0,), (0.5,))) == {}


def test_every_obstacle_is_named() -> None:
    refuse_obstacles("SomeClass", {"a stem": False}, '"native"')
    with refuses(WrongTensors, "SomeClass", "a stem", "two widths", '"native" or "ldm"') as caught:
        refuse_obstacles("SomeClass", {"a stem": True, "a tail": False, "two widths": True}, '"native" or "ldm"')
    assert "a tail" not in caught.value.found


SHAPES: dict[str, tuple[int, ...]] = {
    "up.0.block.0.weight": (4, 8, 3, 3),
    "up.0.block.10.weight": (4, 8, 3, 3),
    "x.up.0.block.20.weight": (4, 8, 3, 3),
    "empty": (0, 3),
    "scalar": (),
    "matrix": (4, 8),
}


@pytest.mark.parametrize(("pattern", "count"), [(r"up\.0\.block\.(\d+)\.", 11), (r"up\.(\d+)\.", 1), (r"no\.(\d+)", 0)])
def test_numbers_in_keys_are_counted_from_the_start_of_a_key(pattern: str, count: int) -> None:
    assert highest(SHAPES, pattern) == count


def test_shapes_without_elements_tell_nothing() -> None:
    assert first_shape(SHAPES, "missing", "empty", "scalar", "matrix", "up.0.block.0.weight") == (4, 8)
    assert first_shape(SHAPES, "missing", "empty", "scalar") is None


def test_only_four_axes_are_a_convolution() -> None:
    assert conv_shape(SHAPES, "up.0.block.0.weight") == (4, 8, 3, 3)
    assert conv_shape(SHAPES, "matrix") is None
    assert conv_shape(SHAPES, "missing") is None


def test_tensors_of_a_normalization_are_read_back() -> None:
    normalization = LatentNormalization((1.0,) * 8, (0.5,) * 8, 2)
    tensors = BATCH_NORM.write(ToyConfig(), normalization)
    assert BATCH_NORM.length(ToyConfig()) == len(tensors[MEAN]) == 8
    back = BATCH_NORM.read(tensors, {})
    assert back is not None and back.is_close(normalization, channels=2, tolerance=1e-6)
