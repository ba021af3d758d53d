"""Classify the names inside a pickle: executable code, storage classes, dtypes.

Nothing that a pickle names is ever imported or called, so safety does not depend on this module. It decides
whether a file is refused or read with placeholders. An attack needs a function that runs something, and the only ones
that every reader of pickles has are those of Python's standard library. Of that library a file may name what holds
data, and nothing else. Classes and functions of other packages are leftovers of training and become placeholders.
`functools.partial` and `getattr` are allowed because Hydra's configs, bound methods and (in some versions of Python)
enum members are written with them; what they are applied to is checked by its own name.
"""

import re
import sys
import sysconfig
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # how `pickle` itself reads the names of Python 2
from functools import cache
from pathlib import Path

import torch

HOLDS_DATA = re.compile(
    r"""builtins\.(bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple|type)(\.\w+)?
    |builtins\.(abs|all|any|chr|enumerate|getattr|hash|isinstance|len|max|min|ord|pow|print|repr|round|sorted|sum|zip)
    |builtins\.(Ellipsis|None|NotImplemented|\w+(Error|Exception|Exit|Interrupt|Iteration|Warning))
    |(abc|array|collections(\.abc)?|dataclasses|datetime|decimal|enum|fractions|ipaddress|itertools|math|numbers
    |(nt|posix)path|random|re|statistics|string|typing|uuid|weakref)\.\w+|datetime\.\w+\.\w+
    |_codecs\.encode|_?io\.(BytesIO|StringIO)|_?operator\.itemgetter|argparse\.(?!FileType)\w+
    |copyreg\.(_reconstructor|__newobj__|__newobj_ex__)|functools\.partial|inspect\.(_empty|_ParameterKind|Parameter)
    |logging\.getLogger|pathlib(\._local)?\.\w*Path|time\.struct_time|types\.(GenericAlias|MappingProxyType|NoneType
    |SimpleNamespace)|zoneinfo\.ZoneInfo(\._unpickle)?""",
    re.VERBOSE,
)
"""The names of the standard library that a file may reference."""
LONGEST_PATH = 8
"""The maximum number of components of a name such as `Outer.Inner.method`; each suffix is checked."""

STORAGES = {
    "UntypedStorage": torch.uint8,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    # Quantized tensors are not read, but their sizes are needed to locate the data after them in an old file.
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QUInt4x2Storage": torch.uint8,
    "QUInt2x4Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}
NUMBERS = re.compile(
    r"bfloat16|float(8_\w+|16|32|64)|u?int(8|16|32|64)|c?(half|float|double)|complex\d+|bool|short|int|long"
)
"""The dtypes whose elements occupy whole bytes: neither quantized nor sub-byte dtypes."""


@cache
def standard_packages() -> frozenset[str]:
    """The packages of the standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    return frozenset(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else frozenset()


def is_standard(module: str) -> bool:
    """Whether a module is part of the standard library: `code` is, `code.model` is a local folder named code."""
    root, _, inside = module.partition(".")
    return root in sys.stdlib_module_names and (not inside or root in standard_packages())


def runs_code(module: str, name: str) -> bool:
    """Whether `module.name` is a name of the standard library that is not known to hold data, or a path to one.

    A name may be a path through attributes: `torch` and `os.system` reach `os.system` as well as `os` and `system` do.
    """
    steps = name.split(".")
    if len(steps) > LONGEST_PATH or (len(steps) > 1 and any(step.startswith("__") for step in steps)):
        return True
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    paths = [(module, name), *((step, ".".join(steps[i:])) for i, step in enumerate(steps[:-1], start=1))]
    return any(is_standard(place) and not HOLDS_DATA.fullmatch(f"{place}.{end}") for place, end in paths)


def storage_dtype(name: str) -> torch.dtype | None:
    """The dtype of a storage class, `torch.cuda.HalfStorage` for example; None if it is not a storage class."""
    package, _, class_name = name.rpartition(".")
    return STORAGES.get(class_name) if package.split(".")[0] == "torch" else None


def number_dtype(name: str) -> torch.dtype | None:
    """The dtype with this name, such as `torch.float16`; None for any other name."""
    package, _, dtype_name = name.rpartition(".")
    # `vars`, because `getattr(torch, ...)` imports parts of torch on demand.
    dtype = vars(torch).get(dtype_name) if package == "torch" and NUMBERS.fullmatch(dtype_name) else None
    return dtype if isinstance(dtype, torch.dtype) else None
