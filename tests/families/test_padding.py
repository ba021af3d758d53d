"""What files state about padding."""

import pytest

from vaekit.families.padding import told_padding


@pytest.mark.parametrize("told", [None, 1, "circular", ["reflect"], {}, True])
def test_nonsense_in_a_file_tells_nothing(told: object) -> None:
    assert told_padding({"padding": told}, {"padding_mode": told}) is None
    assert told_padding({"padding": told}, {"padding_mode": "reflect"}) == "reflect"
