"""scikit-learn's own checks of estimators."""

from typing import Any

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from vaekit import VAEDetector, VAETransformer

SMALL = [VAEDetector(samples=64, hidden=(8,), draws=2), VAETransformer(samples=64, hidden=(8,))]


@parametrize_with_checks(SMALL)
def test_every_check_passes(estimator: Any, check: Any) -> None:
    check(estimator)


OF_FRAMES = ("check_dataframe_column_names_consistency",)
OF_OUTPUT = (
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")  # they mix frames and arrays on purpose
@pytest.mark.parametrize(
    ("estimator", "name"),
    [*((each, name) for each in SMALL for name in OF_FRAMES), *((SMALL[1], name) for name in OF_OUTPUT)],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_checks_that_scikit_learn_runs_on_its_own_estimators(estimator: Any, name: str) -> None:
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [VAEDetector, VAETransformer])
def test_every_check_passes_with_default_parameters(kind: Any) -> None:
    results = check_estimator(kind(), on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= {"check_array_api_input"}
