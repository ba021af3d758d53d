"""Which names in a pickle may run code, and which are data or leftovers."""

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import importlib
import pathlib
import re
import sys
import types
import uuid

import torch
from hypothesis import given
from hypothesis import strategies as st

from vaekit.formats.pickle_names import number_dtype, runs_code

RUN_THINGS = (
    *("os", "posix", "subprocess", "sys", "runpy", "importlib", "importlib.util", "pkgutil", "pickle", "marshal"),
    *("shutil", "socket", "ctypes", "pty", "code", "codeop", "webbrowser", "timeit", "pdb", "bdb", "asyncio"),
    *("threading", "_thread", "multiprocessing", "urllib.request", "http.client", "sqlite3", "tempfile"),
    *("logging.config", "concurrent.futures"),
)
BUILTINS_THAT_RUN = ("eval", "exec", "compile", "open", "__import__", "__build_class__", "setattr", "delattr", "map")
"""And those that hand a function on: a pickle needs no more."""
DATA = (
    *(argparse.Namespace, collections.OrderedDict, collections.Counter, datetime.datetime, decimal.Decimal, enum.Enum),
    *(fractions.Fraction, pathlib.PurePosixPath, type(pathlib.Path()), re._compile, types.SimpleNamespace, uuid.UUID),
    *(bool, bytes, complex, dict, float, frozenset, int, list, range, set, slice, str, tuple, ValueError, getattr),
)
OTHERS = (
    *("torch._utils _rebuild_tensor_v2", "numpy.core.multiarray scalar", "omegaconf.dictconfig DictConfig"),
    *("pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint", "my.package Outer.Inner", "system os"),
    *("torch.optim.adam Adam", "code.model VAE", "ldm.types Config", "osgeo x", "__main__ Options"),
    *("builtins str.lower", "functools partial", "copyreg __newobj__", "copy_reg _reconstructor", "_codecs encode"),
    *("__builtin__ unicode", "UserDict UserDict"),
)


def test_every_callable_of_modules_that_run_things_is_refused() -> None:
    """Under its own name, as a path from elsewhere, and as an attribute of something harmless."""
    checked = 0
    for place in RUN_THINGS:
        for name, value in vars(importlib.import_module(place)).items():
            if callable(value):
                assert runs_code(place, name), (place, name)
                assert "." in place or runs_code("torch", f"{place}.{name}"), (place, name)
                checked += 1
    assert checked > 1000
    for name in BUILTINS_THAT_RUN:
        assert runs_code("builtins", name) and runs_code("__builtin__", name) and runs_code("torch", f"builtins.{name}")


def test_what_only_serves_to_reach_code_is_refused() -> None:
    for path in (
        *("types FunctionType", "operator attrgetter", "functools reduce", "commands getoutput", "a b.__globals__"),
        *("_io open", "a " + "b." * 100_000, "__builtin__ reduce", "argparse FileType", "x __builtins__.eval"),
    ):
        assert runs_code(*path.split(" ", 1)), path


def test_data_and_leftovers_are_not_refused() -> None:
    for kind in DATA:
        assert not runs_code(kind.__module__, kind.__qualname__), kind
    for path in OTHERS:
        assert not runs_code(*path.split(" ", 1)), path


@given(st.lists(st.from_regex(r"[a-z_]\w{0,9}", fullmatch=True), min_size=1, max_size=4), st.text(max_size=20))
def test_nobody_elses_module_is_refused_for_a_plain_name(steps: list[str], name: str) -> None:
    module = ".".join(["nobody_wrote_this", *steps])
    assert not runs_code(module, name.replace(".", ""))


def test_no_name_imports_anything() -> None:
    before = set(sys.modules)
    for name in ("torch._dynamo", "torch.onnx", "torch.quint8", "torch.int4", "torch.half.x", "os.float16"):
        assert number_dtype(name) is None
    assert number_dtype("torch.float8_e4m3fn") is torch.float8_e4m3fn
    assert runs_code("antigravity", "fly") and runs_code("this", "s")
    assert set(sys.modules) == before
