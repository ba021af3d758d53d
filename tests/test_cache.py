"""An answer about a file is found once, and again only when the file has changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vaekit.cache import cached_result, keep, recall
from vaekit.user_dirs import cache_folder

Ask = Callable[[], object]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def ask(file: Path) -> tuple[Ask, list[int]]:
    calls: list[int] = []

    def find() -> object:
        calls.append(1)
        return {"answer": len(calls)}

    return (lambda: cached_result(file, "size", find)), calls


def test_an_answer_is_found_once(ask: tuple[Ask, list[int]]) -> None:
    first = ask[0]()
    assert ask[0]() == first == {"answer": 1}
    assert len(ask[1]) == 1


def test_a_changed_file_is_asked_again(ask: tuple[Ask, list[int]], file: Path) -> None:
    ask[0]()
    file.write_bytes(b"abcd")
    assert ask[0]() == {"answer": 2}
    os.utime(file, ns=(1, 1))
    assert ask[0]() == {"answer": 3}


def test_questions_and_files_are_kept_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"abc")
    assert cached_result(file, "a", lambda: 1) == 1
    assert cached_result(file, "b", lambda: 2) == 2
    assert cached_result(other, "a", lambda: 3) == 3


def test_a_file_that_changes_while_we_look_is_not_remembered(file: Path) -> None:
    def find() -> int:
        file.write_bytes(b"something else")
        return 1

    assert cached_result(file, "q", find) == 1
    assert cached_result(file, "q", lambda: 2) == 2


def test_a_broken_or_forbidden_cache_is_no_error(
    ask: tuple[Ask, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache_folder() / "answers.sqlite3").parent.mkdir(parents=True, exist_ok=True)
    (cache_folder() / "answers.sqlite3").write_bytes(b"no database" * 1000)
    assert ask[0]() == {"answer": 1}
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "weights"))  # a file where the folder should be
    assert ask[0]() == {"answer": 2}


def test_the_folder_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VAEKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vaekit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().name == "vaekit"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        cached_result(tmp_path / "nothing", "q", lambda: 1)


def test_many_answers_at_once() -> None:
    answers = {f"key {number}": {"number": number} for number in range(1234)}
    keep(answers)
    assert recall([*answers, "another"]) == answers
    assert recall([]) == {}


def test_an_answer_may_be_nothing(file: Path) -> None:
    assert cached_result(file, "q", lambda: None) is None
    assert cached_result(file, "q", lambda: 1) is None
