"""Packages import only from lower floors, packages on one floor do not import each other, and there are no import
circles, neither between nor inside packages. Lazy imports count too. Tests mirror modules."""

import ast
from pathlib import Path

from import_graph import FILES, MODULES, ROOT, circles, module_graph, package_graph

FLOORS = [
    {"errors", "shapes", "user_dirs", "version"},
    {
        "atomic",
        "audio_format",
        "cache",
        "geometry",
        "json",
        "normalization",
        "optional",
        "pipeline",
        "shards",
        "reading",
        "records",
        "run_folder",
        "user_functions",
    },
    {"chunks", "distributions"},
    {"latents", "metrics", "nets", "testcards", "vae"},
    {"catalog"},
    {"families", "formats"},
    {"identification"},
    {"datasets", "library"},
    {"checkpoints", "pretrained", "runtime"},
    {"anomaly", "codec", "doctor", "evaluation", "interop", "retrieval", "training"},
    {"latent_cache"},
    {"diffusion", "domains"},
    {"comparison"},
    {"report"},
    {"tasks"},
    {"cluster", "serve"},
    {"cli", "estimators"},
    {"__init__", "__main__"},
]
"""From the ground up. A new package is added here with its first useful lines."""

FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}


def package_of(module: str) -> str:
    """`vaekit.families.kl.net` -> `families`; `vaekit` itself -> `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def domain_of(module: str) -> str | None:
    """The domain that a module is of; None outside `domains/` and for what all domains share."""
    path = MODULES.get(module)
    domain = path is not None and path.is_relative_to(ROOT / "domains") and path.parent != ROOT / "domains"
    return module.split(".")[2] if domain else None


def may_import(here: str, module: str) -> bool:
    if package_of(module) != package_of(here):
        return FLOOR[package_of(module)] < FLOOR[package_of(here)]
    return domain_of(here) in (None, domain_of(module)) or domain_of(module) is None


def test_every_package_has_a_floor_and_every_floor_its_packages() -> None:
    entries = [path for path in ROOT.iterdir() if path.name not in ("__pycache__", "py.typed")]
    packages = {path.stem if path.is_file() else path.name for path in entries}
    assert packages == set(FLOOR)


def test_packages_import_from_lower_floors() -> None:
    graph = module_graph()
    upward = [f"{here} imports {module}" for here in graph for module in graph[here] if not may_import(here, module)]
    assert not upward, "\n".join(sorted(upward))


def test_there_are_no_import_circles() -> None:
    graph = module_graph()
    found = [sorted(circle) for circle in (*circles(graph), *circles(package_graph(graph)))]
    assert not found, f"these import each other: {found}"


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}, "f": {"a"}}
    assert circles(graph) == {frozenset("bc"), frozenset("e")}


MIRRORED = ("families", "formats", "identification", "training", "runtime")
"""Packages of which each module has tests of its own, at the same path: `families/kl/net.py` has
`tests/families/kl/test_net.py`."""


def test_every_module_has_its_tests_at_the_same_path() -> None:
    modules = [path.relative_to(ROOT) for path in FILES if path.stem != "__init__"]
    wanted = {path.with_name(f"test_{path.name}") for path in modules if path.parts[0] in MIRRORED}
    tests = Path(__file__).parents[1]
    found = {path.relative_to(tests) for package in MIRRORED for path in (tests / package).rglob("test_*.py")}
    assert wanted - found == set(), "these modules have no tests of their own"
    assert found - wanted == set(), "these tests are named after no module"


def test_only_the_command_line_prints() -> None:
    printing = []
    for module, path in MODULES.items():
        if package_of(module) not in ("cli", "__main__"):
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            printing += [module for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing


def test_files_are_named_for_an_idea_and_hold_one() -> None:
    vague = {"util", "utils", "helpers", "misc", "common"}
    assert [path for path in FILES if vague & {path.stem, path.parent.name}] == []
    lines = {path: path.read_text("utf-8").count("\n") for path in FILES}
    assert {path: count for path, count in lines.items() if count > 450} == {}, "more than one idea in a file?"
