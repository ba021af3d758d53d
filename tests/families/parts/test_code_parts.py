"""Posteriors over codes as parts: their settings, heads and priors."""

from typing import Any

import pytest
import torch
from refusals import refuses

from vaekit.distributions import UniformCodes
from vaekit.families.parts.code_parts import (
    CosineVQPart,
    FSQPart,
    GumbelPart,
    LFQPart,
    ResidualVQPart,
    VQPart,
    check_range,
)
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.part_protocols import PosteriorPart
from vaekit.nets.quantizers import ChoiceQuantizer, FiniteScalarQuantizer, ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer, VectorQuantizer

PARTS: list[tuple[str, Any, int | None, type[Any], int]] = [
    ("vq", VQPart(12), None, VectorQuantizer, 12),
    ("cosine-vq", CosineVQPart(12), None, CosineQuantizer, 12),
    ("residual-vq", ResidualVQPart(6, 2), None, ResidualQuantizer, 36),
    ("fsq", FSQPart((4, 3, 3)), 3, FiniteScalarQuantizer, 36),
    ("lfq", LFQPart(5), 5, SignQuantizer, 32),
    ("gumbel", GumbelPart(7), 7, ChoiceQuantizer, 7),
]


@pytest.mark.parametrize(("kind", "part", "channels", "head", "codes"), PARTS, ids=[each[0] for each in PARTS])
def test_a_part_has_one_moment_its_head_and_a_uniform_prior(
    kind: str, part: Any, channels: int | None, head: type[Any], codes: int
) -> None:
    assert isinstance(part, PosteriorPart)
    assert (part.kind, part.moments, part.channels) == (kind, 1, channels)
    assert part.prior() == UniformCodes(codes)
    width = channels or 4
    quantizer = part.head(MLPConfig((5,), width, (8,)))
    assert type(quantizer) is head
    assert quantizer(torch.rand(2, width)).mode.shape == (2, width)


def test_a_number_out_of_range_is_named() -> None:
    check_range(1, 9, codes=1, stages=9)
    with refuses(ValueError, "stages", "10", "1", "9"):
        check_range(1, 9, codes=9, stages=10)


def test_choices_may_be_hard_from_the_start() -> None:
    assert GumbelPart(3).relaxed
    assert not GumbelPart(3, relaxed=False).head(MLPConfig((5,), 3, (8,))).train().relaxed


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FSQPart((8, 1)),
        lambda: FSQPart(()),
        lambda: FSQPart((4096, 4096, 4096)),
        lambda: LFQPart(25),
        lambda: VQPart(0),
        lambda: ResidualVQPart(8, 65),
        lambda: GumbelPart(1),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()


@pytest.mark.parametrize("levels", [2, 1001])
def test_levels_that_bounds_cannot_hold_apart_are_refused(levels: int) -> None:
    with refuses(ValueError, "3", "1000"):
        FSQPart((levels, 5))
