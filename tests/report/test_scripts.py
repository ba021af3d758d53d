"""Modules become the one script of a page."""

import re
from collections import Counter

import pytest

from vaekit.report.scripts import script, shared_files, text_of

TOP_LEVEL = re.compile(r"^(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)


def test_modules_are_joined() -> None:
    joined = script("page.js")
    assert not re.search(r"^(import|export)\b", joined, re.MULTILINE)
    assert joined.index("function element(") < joined.index("function choices(") < joined.index("function showSides(")
    assert joined.count("function element(") == 1


def test_names_at_top_level_are_unique() -> None:
    """All modules of a page share one scope, where a second declaration is a syntax error."""
    assert [name for name, count in Counter(TOP_LEVEL.findall(script("page.js"))).items() if count > 1] == []


def test_shared_files_import_only_each_other() -> None:
    """The page of `vaekit serve` loads them from one folder."""
    files = shared_files()
    for name, content in files.items():
        for imported in re.findall(r'from "(.*)"', content.decode()):
            assert imported.startswith("./") and imported[2:] in files, name


def test_unknown_names() -> None:
    with pytest.raises(FileNotFoundError):
        text_of("other.js")
