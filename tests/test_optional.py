"""Optional packages: there, absent, broken."""

import json
import sys
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import MissingPackage
from vaekit.optional import require


def test_a_package_that_is_there() -> None:
    assert require("json", "read a config", "json") is json


def test_an_absent_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "absent", None)
    for name in ("absent", "nobody.wrote.this"):
        with refuses(MissingPackage, name, "read GGUF files", "pip install 'vaekit[gguf]'"):
            require(name, "read GGUF files", "gguf")


def test_a_package_that_misses_something_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed_here.py").write_text("import nobody_wrote_this")
    monkeypatch.syspath_prepend(tmp_path)
    with refuses(MissingPackage, "half_installed_here", "nobody_wrote_this"):
        require("half_installed_here", "do a thing", "thing")


@pytest.mark.parametrize("error", ["OSError('a bad library')", "AttributeError('_ARRAY_API')", "ImportError('libc')"])
def test_a_broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    monkeypatch.delitem(sys.modules, "broken_here", raising=False)
    (tmp_path / "broken_here.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    with refuses(MissingPackage, "broken_here", error.split("'")[1]):
        require("broken_here", "do a thing", "thing")
