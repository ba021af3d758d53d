"""The tables of facts: those of the families are found and counted, and reading them takes no torch."""

import subprocess
import sys
from pathlib import Path

import vaekit
from vaekit.catalog import tables

FAMILIES = Path(vaekit.__file__).parent / "families"


def test_the_facts_of_every_family_are_found() -> None:
    assert list(tables.facts_files()) == sorted(path.parent.name for path in FAMILIES.glob("*/facts.toml"))
    assert len(tables.family_facts()) == len(tables.facts_files())


def test_the_digest_depends_on_every_table() -> None:
    contents = tables.contents()
    assert {f"{name}/facts.toml" for name in tables.facts_files()} | {*tables.TABLES} == contents.keys()
    assert tables.digest_of(contents) == tables.digest()
    for name in contents:
        assert tables.digest_of(contents | {name: contents[name] + b"\n"}) != tables.digest()


def test_the_catalog_imports_neither_torch_nor_a_family() -> None:
    program = (
        "import sys; from vaekit.catalog.entries import catalog_entries, latent_spaces; "
        "assert catalog_entries() and latent_spaces(); "
        "print([name for name in sys.modules if name == 'torch' or name.startswith('vaekit.families')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
