"""Labels as numbers: properties, two classes, one class among many, and what is refused."""

import pytest
import torch
from refusals import refuses

from vaekit.errors import BadPlan
from vaekit.latents.targets import every_target, target_of


def test_numbers_are_a_property() -> None:
    target = target_of("age", ["3", None, "1.5", "6"])
    assert target.classes is None and target.known.tolist() == [0, 2, 3]
    assert (target.mean, target.std) == (pytest.approx(3.5), pytest.approx(torch.tensor([3, 1.5, 6]).std(correction=0)))


@pytest.mark.parametrize(
    ("labels", "classes"), [(["no", "yes"], ("no", "yes")), (["10", "9"], ("9", "10")), (["b", "1"], ("1", "b"))]
)
def test_of_two_classes_the_last_is_positive(labels: list[str], classes: tuple[str, str]) -> None:
    target = target_of("x", labels * 2)
    assert target.classes == classes and target.values.tolist() == [float(label == classes[1]) for label in labels * 2]


def test_all_classes_of_one_side_weigh_the_same() -> None:
    target = target_of("x", ["a", "a", "b", "c", "c", "c", None], positive="a")
    assert target.classes == ("others", "a")
    torch.testing.assert_close(target.weights, torch.tensor([1 / 4, 1 / 4, 1 / 4, *[1 / 12] * 3, 0]).double())
    assert (target.mean, target.std) == (pytest.approx(0.5), pytest.approx(0.5))


def test_a_chosen_number_is_a_class() -> None:
    assert target_of("digit", ["1", "2", "3", "1"], positive="1").classes == ("others", "1")


@pytest.mark.parametrize(
    ("labels", "positive", "named"),
    [
        (["a", "b", "c"], None, ["--positive", "a, b, c"]),
        (["1", "2", "n/a"], None, ["n/a", "--positive"]),
        (["cat", "dog"], "catt", ["catt", "cat"]),
        (["a", "a"], None, ["a"]),
        ([None, None], None, []),
        (["a", "b", "b"], None, ["a"]),
        (["a", "b", "b"], "a", ["a"]),
        (["1e300", "2", "3"], None, ["1e+100"]),
        (["1", "2", None, "nan"], None, ["nan"]),
        ([f"{10**17 + i}" for i in range(3)], None, []),
    ],
)
def test_labels_that_give_no_direction(labels: list[str | None], positive: str | None, named: list[str]) -> None:
    with refuses(BadPlan, "column", *named):
        target_of("column", labels, positive)


def test_every_target_of_a_column() -> None:
    names = {"age": ["1", "2", "3", "4"], "kind": ["a", "a", "b", "b"], "many": ["a", "a", "b", "c", "c"]}
    found = {name: [target.name for target in every_target(name, labels)] for name, labels in names.items()}
    assert found == {"age": ["age"], "kind": ["kind"], "many": ["many = a", "many = c"]}
    for labels in ([None, "x"], [f"n{i}" for i in range(100)], ["1e300", "2", "3"], ["a", "b"]):
        assert every_target("x", labels) == []
