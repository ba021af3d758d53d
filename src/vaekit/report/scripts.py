"""Scripts of pages: modules that import each other, as the one script of a page that opens from disk.

A page from disk cannot load modules, and its policy allows scripts by their hash. So a module and those that it
imports, each once and before those that need it, become one text. All share one scope: no two use the same name at top
level.
"""

import re
from collections.abc import Mapping
from importlib.resources import files

FOLDERS = ("templates", "shared")
"""Modules of the report alone; those that the page of `vaekit serve` loads, too."""
IMPORT = re.compile(r'^import \{[^}]*\} from "[./a-z]*?([a-z_]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ", re.MULTILINE)


def script(name: str) -> str:
    """The script of a page.

    Args:
        name: of its main module, such as "page.js".
    """
    modules: dict[str, str] = {}
    _collect(name, modules)
    return '"use strict";\n(() => {\n' + "".join(modules.values()) + "})();\n"


def _collect(name: str, modules: dict[str, str]) -> None:
    """Add a module after those that it imports."""
    text = text_of(name)
    for imported in IMPORT.findall(text):
        if imported not in modules:
            _collect(imported, modules)
    modules[name] = EXPORT.sub("", IMPORT.sub("", text))


def text_of(name: str) -> str:
    """The text of a file of a page: a script, a style sheet.

    Raises:
        FileNotFoundError: there is none.
    """
    report = files("vaekit.report")
    found = next((file for folder in FOLDERS if (file := report / folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(name)
    return found.read_text("utf-8")


def shared_files() -> Mapping[str, bytes]:
    """Style sheets and modules for other pages of vaekit, by their names."""
    return {file.name: file.read_bytes() for file in (files("vaekit.report") / "shared").iterdir() if file.is_file()}
