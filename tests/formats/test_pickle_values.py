"""The values that are built in place of what a pickle names."""

from typing import Any

import pytest

from vaekit.formats.pickle_values import (
    BUILTINS,
    CONTAINERS,
    LARGEST_KEY,
    LONGEST_KEY,
    Placeholder,
    as_dict,
    as_key,
    build_bytes,
    build_dict,
    build_object,
    copying,
)


@pytest.mark.parametrize("key", ["x" * LONGEST_KEY, b"x", 0, -(LARGEST_KEY - 1), True, None, 1.5, Placeholder("a.B")])
def test_keys_that_are_quickly_hashed_stay(key: object) -> None:
    assert as_key(key) is key


@pytest.mark.parametrize("key", ["x" * (LONGEST_KEY + 1), LARGEST_KEY, -LARGEST_KEY, (1, 2), frozenset({1}), 1j])
def test_other_keys_become_placeholders(key: object) -> None:
    found = as_key(key)
    assert isinstance(found, Placeholder)
    assert type(key).__name__ in found.name


def test_a_dictionary_is_built_from_alternating_keys_and_values() -> None:
    assert as_dict(["a", 1, (2,), 3]) == {"a": 1, Placeholder("a tuple as a key"): 3}
    with pytest.raises(ValueError):
        as_dict(["a"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {}),
        (([("a", 1), ["b", 2]],), {"a": 1, "b": 2}),
        (({"a": 1},), {"a": 1}),
        ((Placeholder("builtins.list"),), {}),
        ((Placeholder("builtins.list"), [("a", 1)]), {"a": 1}),
    ],
)
def test_dictionaries_of_any_kind(arguments: tuple[Any, ...], expected: dict[str, int]) -> None:
    assert build_dict(*arguments) == expected


@pytest.mark.parametrize("pairs", [[1], [("a",)], [("a", 1, 2)], ["ab"]])
def test_what_has_no_pairs_is_no_dictionary(pairs: list[Any]) -> None:
    with pytest.raises(ValueError):
        build_dict(pairs)


def test_a_dictionary_is_copied() -> None:
    given = {"a": 1}
    assert build_dict(given) is not given


def test_bytes_of_old_protocols() -> None:
    assert build_bytes("\xff\x00", "latin1") == b"\xff\x00"
    assert build_bytes() == b""
    for arguments in ((b"x", "latin1"), ("x", "utf-8"), ("x", None)):
        assert isinstance(build_bytes(*arguments), Placeholder)


def test_containers_of_values_and_of_anything_else() -> None:
    assert BUILTINS["set"]([1, (2,)]) == {1, Placeholder("a tuple as a key")}
    assert BUILTINS["list"]("abc") == [] and BUILTINS["tuple"](Placeholder("x")) == ()
    assert CONTAINERS["torch.Size"]([2, 3]) == (2, 3)
    assert CONTAINERS["__builtin__.frozenset"]([1]) == frozenset({1})
    assert CONTAINERS["collections.defaultdict"](Placeholder("builtins.list")) == {}


def test_an_instance_is_a_placeholder_of_its_class() -> None:
    assert build_object(Placeholder("a.B"), Placeholder("builtins.object"), None) == Placeholder("a.B")
    assert build_object("text") == Placeholder("object")


@pytest.mark.parametrize(
    ("value", "work"), [("x" * 128, 2), (b"x" * 64, 1), ([1, 2, 3], 3), ({1: 2}, 1), (frozenset({1, 2}), 2), (7, 0)]
)
def test_the_work_of_copying(value: object, work: int) -> None:
    assert copying(value) == work
