"""Files of latent previewers: names and detection."""

import pytest
import torch
from shapes_of_configs import assert_names, native_shapes

from vaekit.distributions import Normal, Point
from vaekit.families import layout_of
from vaekit.families.approx.files import FAMILY, detect_approx
from vaekit.families.approx.net import ApproxConfig

CONFIG = ApproxConfig(3, 4, (8, 16, 8, 8, 8, 8, 6), (7, 5, 3, 3, 3, 3, 3, 3))
SHAPES = native_shapes(CONFIG)
ORIGINAL = layout_of("original", "approx")


def test_a_chain_of_convolutions_is_read_off_its_shapes() -> None:
    assert detect_approx(SHAPES) == CONFIG
    assert detect_approx({"decoder.conv1.weight": (3, 4, 5, 5)}) == ApproxConfig(3, 4, (), (5,))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("decoder.conv3.weight", (8, 16, 4, 4)),
        ("decoder.conv3.weight", (8, 16, 3, 5)),
        ("decoder.conv3.weight", (8, 16)),
        ("decoder.conv10.weight", (8, 16, 3, 3)),
        ("decoder.conv0.weight", (8, 16, 3, 3)),
    ],
)
def test_what_is_no_such_chain_is_none(key: str, shape: tuple[int, ...]) -> None:
    assert detect_approx(SHAPES | {key: shape}) is None


def test_a_missing_convolution_is_no_shorter_chain() -> None:
    assert detect_approx({key: shape for key, shape in SHAPES.items() if "conv4" not in key}) is None
    assert detect_approx({}) is None


def test_published_names() -> None:
    assert ORIGINAL is not None
    assert_names(ORIGINAL, CONFIG, {"decoder.conv1.weight": "conv1.weight", "decoder.conv8.bias": "conv8.bias"})


def test_names_that_say_little_are_taken_only_where_all_are_there() -> None:
    assert ORIGINAL is not None
    names = [f"conv{i}.weight" for i in range(1, 9)]
    assert ORIGINAL.prefixes(names) == {"": 8}
    assert ORIGINAL.prefixes([f"vae.{name}" for name in names]) == {}
    assert ORIGINAL.prefixes(names[:7]) == {}
    assert ORIGINAL.prefixes([*names, "conv0.weight"]) == {}


def test_its_heads_are_those_of_a_plain_decoder() -> None:
    z = torch.zeros(1, 4, 1, 1)
    assert isinstance(FAMILY.posterior_head(CONFIG)(z), Point) and isinstance(FAMILY.likelihood_head(CONFIG)(z), Normal)
    assert FAMILY.prior_head(CONFIG) is None
