"""Results over items: means, intervals, and what was left out."""

import json
import math

from vaekit.evaluation.evaluate import Evaluation
from vaekit.evaluation.measures import Result, result_of
from vaekit.evaluation.protocol import Protocol
from vaekit.json import dumps
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean, mean_interval

SOME = Measure("some", "Some", "", None, "")


def summary(*values: float) -> Result:
    mean = RunningMean()
    for value in values:
        mean.add(value)
    return result_of(SOME, mean)


def test_a_result_has_the_interval_of_its_finite_values() -> None:
    found, expected = summary(1.0, math.inf, 3.0, 2.5, math.nan), mean_interval([1.0, 3.0, 2.5])
    assert (found.value, found.low, found.high) == (expected.mean, expected.low, expected.high)
    assert (found.count, found.not_finite) == (3, 2)
    assert found.standard_error is not None


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    one = summary(2.5)
    assert (one.value, one.standard_error, one.low, one.count) == (2.5, None, None, 1)
    assert math.isnan(summary(math.inf).value)


def test_a_mean_of_nothing_finite_is_nan_in_json() -> None:
    protocol = Protocol("vae", "data", 1, "all", {}, "mode", 0, {}, 1, {})
    found = Evaluation(protocol, (summary(math.inf),), {}, (), 1, ())
    some = json.loads(dumps(found.as_json()))["results"]["some"]
    assert (some["value"], some["low"], some["not_finite"]) == ("NaN", None, 1)
