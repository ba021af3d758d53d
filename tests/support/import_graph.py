"""Which module of vaekit imports which, lazy imports included, and where that goes round in a circle."""

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "vaekit"
FILES = sorted(ROOT.rglob("*.py"))
Graph = Mapping[str, set[str]]


def module_of(path: Path) -> str:
    """`src/vaekit/families/kl/net.py` -> `vaekit.families.kl.net`; a package is named without `__init__`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Every module of vaekit that a file names in an import statement, at whatever depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            inside = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else module for name in inside}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.split(".")[0] == "vaekit"}


def module_graph() -> Graph:
    """The imports of every module."""
    return {module: imports(path) for module, path in MODULES.items()}


def package_of(module: str) -> str:
    """`vaekit.families.kl.net` -> `families`; `vaekit.domains.images.read` -> `domains.images`."""
    parts = module.split(".")[1:] or ["__init__"]
    return ".".join(parts[:2]) if parts[0] == "domains" else parts[0]


def package_graph(modules: Graph) -> Graph:
    """The imports of every package, those within itself left out."""
    packages: dict[str, set[str]] = {}
    for module, named in modules.items():
        here = package_of(module)
        packages.setdefault(here, set()).update({package_of(each) for each in named} - {here})
    return packages


def circles(graph: Graph) -> set[frozenset[str]]:
    """The largest sets of nodes of which each reaches every other."""
    reached = {node: reachable(graph, node) for node in graph}
    together = {frozenset(one for one in reached[node] if node in reached.get(one, ())) for node in graph}
    return {circle for circle in together if circle}


def reachable(graph: Graph, start: str) -> set[str]:
    """All nodes at the end of a path of one step or more."""
    seen: set[str] = set()
    to_do = list(graph.get(start, ()))
    while to_do:
        node = to_do.pop()
        if node not in seen:
            seen.add(node)
            to_do.extend(graph.get(node, ()))
    return seen
