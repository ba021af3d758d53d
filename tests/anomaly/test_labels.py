"""Labels of normal items."""

import pytest
from refusals import refuses

from vaekit.anomaly.labels import normal_label
from vaekit.errors import NoTrainingData


@pytest.mark.parametrize(
    ("labels", "normal"),
    [
        (["0", "1"], "0"),
        (["0.0", "1.0", None], "0"),
        (["1", "-1"], "1"),
        (["Good", "crack", "hole"], "good"),
        (["False", "True"], "false"),
        (["inlier"], "inlier"),
    ],
)
def test_usual_labels_are_known(labels: list[str | None], normal: str) -> None:
    assert normal_label(labels) == normal


def test_any_label_can_be_named() -> None:
    assert normal_label(["a", "B"], " b ") == "b"
    assert normal_label(["2.0", "3"], "2") == "2"


@pytest.mark.parametrize(("labels", "wanted"), [(["a", "b"], None), (["good", "0"], None), (["a"], "b"), ([], None)])
def test_unknown_and_ambiguous_labels_are_refused(labels: list[str | None], wanted: str | None) -> None:
    with refuses(NoTrainingData, *filter(None, labels)):
        normal_label(labels, wanted)
