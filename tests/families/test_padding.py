"""The padding that a file states."""

import pytest

from vaekit.families.padding import PADDINGS, stated_padding


def test_the_customary_padding_is_the_first() -> None:
    assert PADDINGS == ("zeros", "reflect")


def test_metadata_precedes_a_config_json() -> None:
    assert stated_padding({"padding": "zeros"}, {"padding_mode": "reflect"}) == "zeros"
    assert stated_padding({}, {"padding_mode": "reflect"}) == "reflect"
    assert stated_padding({}, {}) is None


@pytest.mark.parametrize("value", [None, 1, "circular", ["reflect"], {}, True])
def test_nonsense_in_a_file_tells_nothing(value: object) -> None:
    assert stated_padding({"padding": value}, {"padding_mode": value}) is None
    assert stated_padding({"padding": value}, {"padding_mode": "reflect"}) == "reflect"
