"""Which names in a pickle mean danger, and which are leftovers."""

import sys

import pytest
import torch

from vaekit.checkpoints.formats.pickled_names import number_dtype, runs_code


@pytest.mark.parametrize(
    "path",
    [
        *("os system", "posix popen", "torch os.system", "torch.serialization os.system", "a b.__globals__"),
        *("builtins eval", "__builtin__ execfile", "types FunctionType", "operator attrgetter", "functools reduce"),
        *("torch.hub load", "numpy.f2py.crackfortran x", "_io open", "a " + "b." * 100_000, "ctypes.util find_library"),
        *("torch.jit._serialization load", "torch.serialization load", "code InteractiveConsole", "sys modules"),
    ],
)
def test_names_that_only_serve_to_run_code(path: str) -> None:
    assert runs_code(*path.split(" ", 1))


@pytest.mark.parametrize(
    "path",
    [
        *("torch._utils _rebuild_tensor_v2", "collections OrderedDict", "builtins set", "types SimpleNamespace"),
        *("pathlib PosixPath", "omegaconf.dictconfig DictConfig", "numpy.core.multiarray scalar", "code.model VAE"),
        *(
            "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
            "my.package Outer.Inner",
            "copyreg __newobj__",
        ),
        *(
            "torch.optim.adam Adam",
            "osgeo x",
            "_codecs encode",
            "functools partial",
            "builtins getattr",
            "__main__ Options",
            "system os",
            "ldm.types Config",
        ),
    ],
)
def test_names_that_may_be_left_over(path: str) -> None:
    assert not runs_code(*path.split(" ", 1))


def test_no_name_imports_a_part_of_torch() -> None:
    before = set(sys.modules)
    for name in ("torch._dynamo", "torch.onnx", "torch.quint8", "torch.int4", "torch.half.x", "os.float16"):
        assert number_dtype(name) is None
    assert number_dtype("torch.float8_e4m3fn") is torch.float8_e4m3fn
    assert set(sys.modules) == before
