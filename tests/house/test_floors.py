"""A room imports only from lower floors, and rooms on one floor do not know each other: lazy imports count too."""

import ast

from import_graph import FILES, MODULES, ROOT, circles, module_graph, package_graph

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


CIRCLES = {
    frozenset(f"vaekit.checkpoints.{name}" for name in ("glance", "inspecting", "loading", "recognizing", "settling")),
}
"""Modules that import each other, some of them lazily: none may be added."""


def room_of(module: str) -> str:
    """`vaekit.families.kl.net` -> `nets`; the package itself is the front door."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def domain_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["domains"] and len(parts) > 2 else None


def may_import(here: str, module: str) -> bool:
    same_room = room_of(module) == room_of(here) and domain_of(module) == domain_of(here)
    return same_room or FLOOR[room_of(module)] < FLOOR[room_of(here)]


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    entries = [path for path in ROOT.iterdir() if path.name not in ("__pycache__", "py.typed")]
    rooms = {path.stem if path.is_file() else path.name for path in entries}
    assert rooms == set(FLOOR)


def test_imports_go_down_the_stairs() -> None:
    graph = module_graph()
    upward = [f"{here} imports {module}" for here in graph for module in graph[here] if not may_import(here, module)]
    assert not upward, "\n".join(sorted(upward))


def test_no_new_circles_of_imports() -> None:
    graph = module_graph()
    added = [sorted(circle) for circle in circles(graph) - CIRCLES]
    added += [sorted(circle) for circle in circles(package_graph(graph))]
    assert not added, f"these import each other: {added}"
    assert circles(graph) >= CIRCLES, "this circle is no more: take it out of the list"


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}, "f": {"a"}}
    assert circles(graph) == {frozenset("bc"), frozenset("e")}


def test_only_the_command_line_prints() -> None:
    printing = []
    for module, path in MODULES.items():
        if room_of(module) not in ("cli", "__main__"):
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            printing += [module for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing


def test_no_room_is_a_cellar() -> None:
    cellars = {"util", "utils", "helpers", "misc", "common"}
    assert [path for path in FILES if cellars & {path.stem, path.parent.name}] == []
    lines = {path: path.read_text("utf-8").count("\n") for path in FILES}
    assert {path: count for path, count in lines.items() if count > 450} == {}, "two ideas in one room?"
