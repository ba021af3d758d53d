"""Functions of the user: their names, and what happens when they are imported."""

import sys
from pathlib import Path

import pytest

from vaekit.errors import BadPlan, NotFound
from vaekit.user_functions import is_function_name, load_function


@pytest.mark.parametrize("name", ["a", "a:", ":b", "a:b:c", "a b:c", "../a:b", "a:b c", "os;x:y", ""])
def test_names_of_another_form(name: str) -> None:
    assert not is_function_name(name)


def test_a_function_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_functions_example.py").write_text("class A:\n    @staticmethod\n    def f(x): return x\n")
    before = list(sys.path)
    loaded = load_function("user_functions_example:A.f", "")
    assert loaded.function(3) == 3 and len(loaded.digest) == 64 and sys.path == before
    with pytest.raises(NotFound):
        load_function("user_functions_example:A.g", "")
    with pytest.raises(BadPlan):
        load_function("user_functions_example:__name__", "")
    with pytest.raises(NotFound):
        load_function("no_such_module_anywhere:f", "")
