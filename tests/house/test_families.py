"""A family is one folder: it is discovered, and no other module names it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import vaekit.families
from vaekit.catalog.tables import family_facts
from vaekit.families import ALL_FAMILIES, FAMILIES

SOURCE = Path(vaekit.families.__file__).parents[1]
FOLDERS = sorted(path.parent.name for path in (SOURCE / "families").glob("*/files.py"))
OF_KL_NETS = {"training/init_linear.py", "training/initialize.py"}
"""Modules about the weights of one family's nets: the linear initialization."""


def test_every_folder_is_a_family() -> None:
    assert [family.layouts[0].family for family in ALL_FAMILIES] == [family.name for family in ALL_FAMILIES]
    assert len(ALL_FAMILIES) == len(FOLDERS) == len({family.name for family in ALL_FAMILIES})
    assert [family.config.__module__.split(".")[2] for family in ALL_FAMILIES] == FOLDERS


def test_facts_are_those_of_discovered_families() -> None:
    assert {facts["family"] for facts in family_facts()} <= {family.name for family in FAMILIES}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}." for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (f"{alias.name}." for alias in node.names)


def test_no_module_outside_the_families_names_one() -> None:
    starts = tuple(f"vaekit.families.{folder}." for folder in FOLDERS)
    outside = (path for path in SOURCE.rglob("*.py") if not path.is_relative_to(SOURCE / "families"))
    naming = {str(path.relative_to(SOURCE)) for path in outside if any(n.startswith(starts) for n in imported(path))}
    assert naming == OF_KL_NETS
