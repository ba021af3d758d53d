"""Cases of a test that only nightly runs try."""

from typing import Any

import pytest


def nightly(*cases: Any) -> list[Any]:
    """Parameters of a test, marked as nightly."""
    return [pytest.param(case, marks=pytest.mark.nightly) for case in cases]
