"""A room imports only from lower floors, and rooms on one floor do not know each other: lazy imports count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "vaekit"
FLOORS = [
    {"errors", "normalization", "shapes", "version"},
    {"whole_files", "optional", "places", "overlapped", "words"},
    {"distributions"},
    {"nets", "metrics", "testcards"},
    {"vae"},
    {"checkpoints", "runtime"},
    {"training", "interop", "evaluation", "doctor"},
    {"domains"},
    {"report"},
    {"cli"},
    {"__init__", "__main__"},
]
"""From the ground up. A new room is added here with its first useful lines."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """`vaekit.nets.kl` -> `nets`; the package itself is the front door."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def domain_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["domains"] and len(parts) > 2 else None


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every vaekit module that a file names in an import statement, at whatever depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.split(".")[0] == "vaekit"}


FILES = sorted(ROOT.rglob("*.py"))


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    entries = [path for path in ROOT.iterdir() if path.name not in ("__pycache__", "py.typed")]
    rooms = {path.stem if path.is_file() else path.name for path in entries}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_go_down_the_stairs(path: Path) -> None:
    here = module_of(path)
    for module in imports(path):
        same_room = room_of(module) == room_of(here) and domain_of(module) == domain_of(here)
        assert same_room or FLOOR[room_of(module)] < FLOOR[room_of(here)], f"{here} imports {module}"


def test_only_the_command_line_prints() -> None:
    for path in FILES:
        if room_of(module_of(path)) not in ("cli", "__main__"):
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
            assert "print" not in names, path


def test_no_room_is_a_cellar() -> None:
    for path in FILES:
        assert not {"util", "utils", "helpers", "misc", "common"} & {path.stem, path.parent.name}, path
        lines = path.read_text("utf-8").count("\n")
        assert lines <= 450, f"{path} has {lines} lines: two ideas in one room?"
