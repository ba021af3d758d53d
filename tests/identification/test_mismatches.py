"""Tensors against the network of a config: what is missing, left over, or of another shape."""

import pytest
from family_examples import EXAMPLES
from shapes_of_configs import native_shapes

from vaekit.families import FAMILIES, family_of
from vaekit.identification.mismatches import halves_in, mismatch_count, mismatches, same_shape

KEY = "decoder.conv_out.bias"


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_its_own_family_has_exactly_these_tensors(name: str) -> None:
    shapes, family = native_shapes(EXAMPLES[name]), family_of(name)
    assert mismatches(family, EXAMPLES[name], shapes).count == 0
    told = {"norm_groups": 32, "head_width": 8}
    assert {other.name for other in FAMILIES if mismatch_count(other, shapes, told) == 0} == {name}


def test_each_kind_of_mismatch_is_named() -> None:
    shapes = dict(native_shapes(EXAMPLES["kl"]))
    del shapes[KEY]
    shapes["decoder.stranger"] = (1,)
    shapes["decoder.conv_out.weight"] = (7, 32, 3, 3)
    wrong = mismatches(family_of("kl"), EXAMPLES["kl"], shapes)
    assert (wrong.missing, wrong.left_over) == ((KEY,), ("decoder.stranger",))
    assert wrong.misshapen == ("decoder.conv_out.weight",)
    assert wrong.count == 3


def test_half_a_vae_is_compared_with_its_half() -> None:
    half = {key: shape for key, shape in native_shapes(EXAMPLES["kl"]).items() if key.startswith("encoder.")}
    assert halves_in(half) == ("encoder",)
    assert mismatch_count(family_of("kl"), half, {}) == 0


def test_groups_that_do_not_divide_the_widths_count_as_a_mismatch_of_all() -> None:
    shapes = native_shapes(EXAMPLES["kl"])
    assert mismatch_count(family_of("kl"), shapes, {"norm_groups": 24}) == len(shapes)
    assert mismatch_count(family_of("vq"), shapes, {}) > len(shapes)


def test_ones_in_a_shape_do_not_matter() -> None:
    assert same_shape((8, 4), (8, 4, 1, 1))
    assert not same_shape((4, 8), (8, 4, 1, 1))
