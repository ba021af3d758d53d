"""docs/cli.md is what the command line says of itself, and the contract of verbs holds."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from vaekit.cli import app

DOCS = Path(__file__).parents[2] / "docs"
IMAGES = ["reconstruct", "encode", "decode", "compare", "doctor", "evaluate"]
VERBS = [*IMAGES, "inspect", "list", "get", "convert", "extract", "bake", "serve"]


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cli_page", DOCS / "write_cli_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "cli.md").read_text("utf-8") == writer().page(), "run `make docs`"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json_and_help(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
