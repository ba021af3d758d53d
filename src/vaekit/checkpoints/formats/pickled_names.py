"""What the names inside a pickle stand for: code to run, kinds of storage, number formats.

Nothing that a pickle names is ever imported or called, so these tables are not what keeps us safe. They decide whether
a file is worth keeping: a name that only serves to run code makes the whole file suspect, while the class of some
training callback is a harmless leftover. So are `functools.partial` and `getattr`: configs of Hydra hold the first, and
bound methods and (in some versions of Python) members of an enum are written with the second. What they are applied to
is judged by its own name.

Sources: the modules that known exploits of pickles use, as collected by picklescan, fickling and torch's own
`_weights_only_unpickler`.
"""

import re

import torch

RUNS_CODE = re.compile(
    r"(os|posix|nt|subprocess|_posixsubprocess|sys|runpy|importlib|imp|pkgutil|pickle|_pickle|cPickle|dill|_dill|"
    r"cloudpickle|shutil|socket|_socket|socketserver|ctypes|_ctypes|webbrowser|pty|marshal|bdb|pdb|cProfile|doctest|"
    r"commands|popen2|timeit|pydoc|codeop|thread|urllib2|httplib|threading|_thread|asyncio|urllib|http|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|"
    r"sqlite3|distutils|setuptools|pip|venv|ensurepip|idlelib|lib2to3|zipimport|test\.support|numpy\.f2py|"
    r"torch\.(hub|package|_dynamo|_inductor|fx|distributed\.rpc|utils\.cpp_extension|testing))\..*"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|__import__|__build_class__|setattr|delattr|open|file|"
    r"input|raw_input|breakpoint|globals|locals|vars|apply|map|filter|reduce|reload|help|super)"
    r"|types\.(?!(SimpleNamespace|MappingProxyType|GenericAlias|NoneType)$).*"
    r"|_?operator\.(attrgetter|methodcaller|call|setitem|delitem)|_?functools\.reduce"
    r"|code\.(interact|compile_command|Interactive.*)|_?io\.(open|open_code|FileIO|TextIOWrapper)"
    r"|(trace|profile)\.(run.*|Trace|Profile)|numpy\.(load|save|fromfile|memmap|.*\.runstring)|pandas\.(read_.*|eval)"
    r"|torch\.(load|save|compile|serialization\.\w*load|serialization\.save|jit\..*load\w*|ops\.load_library)",
    re.DOTALL,
)

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
    # Quantised tensors are no weights that we read, but what follows theirs in an old file must be found.
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QUInt4x2Storage": torch.uint8,
    "QUInt2x4Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}
NUMBERS = re.compile(
    r"bfloat16|float(8_\w+|16|32|64)|u?int(8|16|32|64)|c?(half|float|double)|complex\d+|bool|short|int|long"
)
"""The formats whose numbers have bytes of their own: not the quantised ones, nor those of a few bits."""


def runs_code(module: str, name: str) -> bool:
    """Whether `module.name` can only serve to run code.

    A name may be a path through attributes: `torch` and `os.system` reach `os.system` as well as `os` and `system` do.
    """
    steps = name.split(".")
    if len(steps) > 1 and any(step.startswith("__") for step in steps):
        return True
    # No path of an honest class is long, and every one of its ends is looked up.
    return len(steps) > 8 or any(
        RUNS_CODE.fullmatch(path) for path in (f"{module}.{name}", *(".".join(steps[i:]) for i in range(len(steps))))
    )


def storage_dtype(name: str) -> torch.dtype | None:
    """The number format of a class of storage, `torch.cuda.HalfStorage` for example; None if it is no storage."""
    package, _, kind = name.rpartition(".")
    return STORAGES.get(kind) if package.split(".")[0] == "torch" else None


def number_dtype(name: str) -> torch.dtype | None:
    """The number format that `torch.float16` and the like stand for; None for any other name."""
    package, _, kind = name.rpartition(".")
    # `vars`, for `getattr(torch, ...)` imports parts of torch on demand.
    found = vars(torch).get(kind) if package == "torch" and NUMBERS.fullmatch(kind) else None
    return found if isinstance(found, torch.dtype) else None
