"""The modules of verbs are about arguments and output alone."""

import ast
from pathlib import Path

import pytest

import vaekit.cli
from vaekit.cli import VERBS

FOLDER = Path(vaekit.cli.__file__).parent
OF_VERBS = {verb.__name__ for verb in VERBS} | {"list"}


def imports(path: Path, top: bool) -> set[str]:
    """The modules that a file imports: all of them, or those that importing it imports."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_importing_it_imports_arguments_output_and_options_only(path: Path) -> None:
    allowed = tuple(f"vaekit.{name}" for name in ("cli", "errors", "geometry", "json", "version", "tasks.options"))
    own = {name for name in imports(path, top=True) if name.startswith("vaekit.")} - {"vaekit.tasks"}
    assert all(name.startswith(allowed) for name in own)
    assert not {name for name in imports(path, top=False) if name.split(".")[0] == "torch"}


@pytest.mark.parametrize("name", sorted(OF_VERBS - {"train"}))
def test_a_verb_knows_no_other_verb(name: str) -> None:
    others = {f"vaekit.cli.{other}" for other in OF_VERBS - {name}}
    assert not others & imports(FOLDER / f"{name}.py", top=False)
