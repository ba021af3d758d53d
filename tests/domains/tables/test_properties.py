"""Columns as properties of rows."""

import pytest
import torch
from planted_rows import SCHEMA
from refusals import refuses

from vaekit.errors import NotFound


def test_properties_are_columns_in_their_units_and_probabilities() -> None:
    x = torch.tensor([[1.5, -1.0, 0.25]])
    expected = {"height": 13.0, "column:height": 13.0, "width": -0.5, "ripe=yes": 0.25, "column:ripe=no": 0.75}
    for name, value in expected.items():
        assert SCHEMA.property_named(name)(x).tolist() == [value]


@pytest.mark.parametrize("name", ["ripe", "ripe=maybe", "hieght", "column:", "", "height=1"])
def test_unknown_properties_are_refused(name: str) -> None:
    with refuses(NotFound, "height", "ripe=yes"):
        SCHEMA.property_named(name)
