"""Configs of each family for the laws that hold for all of them, from `tests/families/<name>/example.py`.

`EXAMPLE` is a small config; `PUBLISHED`, where there is one, names configs of published models.
"""

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from shapes_of_configs import family_name

from vaekit.families import Config


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_of_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES = [module_at(path) for path in sorted((Path(__file__).parents[1] / "families").glob("*/example.py"))]
EXAMPLES: dict[str, Config] = {family_name(module.EXAMPLE): module.EXAMPLE for module in MODULES}
"""One small config of each family, by the family's name."""
IMAGES = {name: config for name, config in EXAMPLES.items() if config.geometry.axes == 2}
"""Those of images: laws about images, and about networks over rows and columns, are for them."""
DAILY = frozenset({"kl", "tiny", "vq", "dcae", "wan"})
"""The families that laws cover in every run; the others follow in nightly ones. These have every kind of step of the
streaming engine. Each family's own tests compare it with its original."""


def daily(cases: Iterable[Any], family: Callable[[Any], str] = str) -> list[Any]:
    """Parameters of a test: the cases of other families than those of `DAILY` are nightly."""
    return [case if family(case) in DAILY else pytest.param(case, marks=pytest.mark.nightly) for case in cases]


PUBLISHED: dict[str, Config] = {
    name: config for module in MODULES for name, config in vars(module).get("PUBLISHED", {}).items()
}
"""Configs of published models, by what they are called."""
KL = EXAMPLES["kl"]
