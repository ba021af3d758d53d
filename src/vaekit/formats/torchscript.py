"""The weights in a TorchScript program, without its code.

`torch.jit.save` pickles the tree of modules: each is an object of a class whose name starts with `__torch__`, with its
parameters, buffers, submodules and constants as state. The code of these classes is in other records of the zip, which
are not read.

Source: `torch/csrc/jit/serialization/pickler.cpp`.
"""

from collections.abc import Mapping

from vaekit.formats.pickle_values import Placeholder, Stateful
from vaekit.formats.tensor_file import MOST_TENSORS

SCRIPT_CLASS = "__torch__."
MOST_DOTS = 24
"""The maximum depth of modules; a program may contain itself."""


class ScriptModule(Stateful):
    """A module of a program: its state without its class."""

    def __init__(self) -> None:
        self.state: Mapping[object, object] = {}

    def set_state(self, state: object) -> None:
        if isinstance(state, dict):  # classes with a method __setstate__ have other states
            self.state = state


def script_object(name: str) -> object:
    """An object of a class in a TorchScript program."""
    return ScriptModule() if name.startswith(SCRIPT_CLASS) else Placeholder(name)


def script_state(content: object) -> dict[str, object]:
    """The attributes of all modules of a program, under the names that its state dict has.

    Raises:
        ValueError: there are too many modules.
    """
    attributes: dict[str, object] = {}
    holders = [("", content)]
    for _ in range(MOST_TENSORS):
        if not holders:
            return attributes
        prefix, holder = holders.pop()
        for name, value in holder.state.items() if isinstance(holder, ScriptModule) else ():
            if not isinstance(value, ScriptModule):
                attributes[f"{prefix}{name}"] = value
            elif prefix.count(".") < MOST_DOTS:
                holders.append((f"{prefix}{name}.", value))
    raise ValueError("a program with too many modules")
