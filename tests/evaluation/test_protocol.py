"""Digests that anybody can compute, choices that anybody can repeat, and differences in words."""

import hashlib
import os
from pathlib import Path

import pytest

from vaekit.evaluation.protocol import chosen_names, digest, versions
from vaekit.records import differences


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    files = {}
    for name in ("a.png", "b/c.png"):
        files[name] = tmp_path / name
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_bytes(name.encode() * 3)
    lines = "".join(f"{hashlib.sha256(name.encode() * 3).hexdigest()}  {name}\n" for name in files)
    before = digest(files)
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    files["a.png"].write_bytes(b"b.png" * 3)
    assert digest(files) != before


def test_a_file_that_cannot_be_read_has_its_word_in_the_digest(tmp_path: Path) -> None:
    gone = digest({"gone": tmp_path / "gone"})
    assert gone == hashlib.sha256(b"unreadable  gone\n").hexdigest()


def test_a_choice_is_that_of_its_seed_and_of_nothing_else() -> None:
    names = [f"{i}.png" for i in range(100)]
    some = chosen_names(names, 10, 0)
    assert some == sorted(some) and len(some) == 10
    assert some == chosen_names(names[::-1], 10, 0)
    assert some != chosen_names(names, 10, 1)
    without = next(name for name in names if name not in some)
    assert some == chosen_names([name for name in names if name != without], 10, 0)
    assert chosen_names(names, None, 0) == chosen_names(names, 100, 0) == sorted(names)


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    latin, sound = os.fsdecode(b"caf\xe9.png"), ["a.png", "b.png"]
    assert latin in chosen_names([latin, *sound], 3, 0) and len(chosen_names([latin, *sound], 2, 0)) == 2
    (tmp_path / "x").write_bytes(b"x")
    line = hashlib.sha256(b"x").hexdigest().encode() + b"  caf\xe9.png\n"
    assert digest({latin: tmp_path / "x"}) == hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a was 1 and is 2"]),
        ({"a": {"b": [1]}}, {"a": {"b": [2], "c": "x"}}, ["a.b was [1] and is [2]", "a.c was absent and is 'x'"]),
        ({"a": 1, "b": 2}, {"b": 2}, ["a was 1 and is absent"]),
    ],
)
def test_differences_are_told_one_by_one(before: dict[str, object], now: dict[str, object], told: list[str]) -> None:
    assert differences(before, now) == told


def test_versions_of_what_is_there() -> None:
    told = versions(["torch", "no-such-package-here"])
    assert set(told) == {"vaekit", "python", "torch"}
