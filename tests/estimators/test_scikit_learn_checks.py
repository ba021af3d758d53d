"""scikit-learn's own checks of estimators."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from vaekit import VAEDetector, VAETransformer

SMALL = [VAEDetector(samples=256, hidden=(8,), draws=4), VAETransformer(samples=256, hidden=(8,))]


@parametrize_with_checks(SMALL)
def test_every_check_passes(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [VAEDetector, VAETransformer])
def test_every_check_passes_with_default_parameters(kind: Any) -> None:
    results = check_estimator(kind(), on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= {"check_array_api_input"}
