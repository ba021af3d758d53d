"""Annotations without a shape are checked by beartype alone, which takes a fraction of jaxtyping's time.

jaxtyping binds the arguments of every call to tell one axis from another. A module that never speaks of shapes gains
nothing by that, and the planning of a run makes tens of thousands of such calls.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from beartype import BeartypeConf
from beartype.claw import beartype_package

SHAPED = ("jaxtyping", "vaekit.shapes")
"""A module that mentions none of these has no shapes to check."""
CHECKING = BeartypeConf(violation_type=TypeError)
"""As jaxtyping's own errors, and as what Python says of a value that cannot do what is asked of it: hostile files are
read by code that has an answer to those."""


class PlainFinder:
    """Finds the modules that jaxtyping's import hook is to check and that name no shapes, before that hook does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` has it; None leaves a module to the finders behind this one."""
        if not is_checked(name):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            return None
        source = Path(spec.origin).read_text(encoding="utf-8")
        if any(word in source for word in SHAPED):
            return None
        beartype_package(name, conf=CHECKING)
        return PathFinder.find_spec(name, path, target)


def is_checked(name: str) -> bool:
    """Whether a module is among those of `--jaxtyping-packages`."""
    hooks = [finder.should_instrument for finder in sys.meta_path if hasattr(finder, "should_instrument")]
    return any(covers(name) for covers in hooks)


def check_plainly() -> None:
    """Have modules without shapes checked by beartype alone, from their next import on.

    Raises:
        RuntimeError: jaxtyping's hook already has some of them.
    """
    early = sorted(name for name in sys.modules if is_checked(name))
    if early:
        raise RuntimeError(f"{len(early)} modules were imported too early, the first is {early[0]}.")
    sys.meta_path.insert(0, PlainFinder())
