"""Files of JointVAE: names, detection and heads."""

from dataclasses import replace

import pytest
import torch
from shapes_of_configs import assert_names, native_shapes

from vaekit.distributions import GaussianAndCategoricals, NormalAndUniform
from vaekit.families import layout_of
from vaekit.families.joint.files import FAMILY, detect_joint
from vaekit.families.joint.net import JointConfig

CONFIG = JointConfig(3, 64, 8, 16, 5, (4, 3))
SHAPES = native_shapes(CONFIG)
HALVES = {half: {k: s for k, s in SHAPES.items() if k.startswith(half)} for half in ("encoder", "decoder")}


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_config_is_read_off_the_shapes(size: int) -> None:
    config = replace(CONFIG, image_size=size)
    assert detect_joint(native_shapes(config)) == config


def test_either_half_is_read_alone() -> None:
    assert detect_joint(HALVES["encoder"]) == CONFIG
    # A decoder does not tell which values of its latent are choices.
    assert detect_joint(HALVES["decoder"]) == replace(CONFIG, continuous=5 + 4 + 3, categories=())


@pytest.mark.parametrize("key", ["img_to_features.0.weight", "fc_alphas.0.weight fc_alphas.0.bias"])
def test_an_encoder_with_a_gap_is_none(key: str) -> None:
    gone = {f"encoder.{each}" for each in key.split()}
    assert detect_joint({name: shape for name, shape in HALVES["encoder"].items() if name not in gone}) is None


def test_a_mean_is_told_by_the_variance_too() -> None:
    rest = {key: shape for key, shape in HALVES["encoder"].items() if not key.startswith("encoder.fc_mean")}
    assert detect_joint(rest) == CONFIG
    assert detect_joint({key: shape for key, shape in rest.items() if "fc_log_var" not in key}) is None


@pytest.mark.parametrize("number", [1, 10**6])
def test_too_few_or_too_many_convolutions_are_none(number: int) -> None:
    few = {key: shape for key, shape in HALVES["encoder"].items() if "img_to_features" not in key}
    few |= {f"encoder.img_to_features.{each}.weight": (8, 3, 4, 4) for each in (0, 2 * number)}
    assert detect_joint(few) is None


def test_names_are_published_without_the_halves() -> None:
    layout = layout_of("original", "joint")
    assert layout is not None
    named = {
        "encoder.fc_alphas.1.weight": "fc_alphas.1.weight",
        "encoder.img_to_features.2.bias": "img_to_features.2.bias",
        "decoder.features_to_img.4.weight": "features_to_img.4.weight",
    }
    assert_names(layout, CONFIG, named)


def test_its_heads_know_the_categories() -> None:
    moments = torch.zeros(2, 2 * 5 + 4 + 3, 1, 1)
    posterior = FAMILY.posterior_head(CONFIG)(moments)
    assert isinstance(posterior, GaussianAndCategoricals) and posterior.mean.shape == (2, 12, 1, 1)
    prior = FAMILY.prior_head(CONFIG)
    assert prior is not None and prior(FAMILY.posterior_head(CONFIG)) == NormalAndUniform((4, 3))
