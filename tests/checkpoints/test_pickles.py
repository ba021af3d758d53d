"""Our reader of torch's files against torch's own, and against whatever a file may hold instead."""

import argparse
import builtins
import collections
import importlib
import io
import pickle
import random
import struct
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaekit.checkpoints.formats.files import open_tensors
from vaekit.checkpoints.formats.pickled_names import number_dtype, runs_code
from vaekit.checkpoints.formats.pickled_values import Placeholder
from vaekit.checkpoints.formats.pickles import MOST_WORK
from vaekit.checkpoints.formats.stored_tensors import StoredTensor
from vaekit.checkpoints.formats.torch_files import MAGIC_NUMBER, open_torch_file
from vaekit.errors import BadCheckpoint, UnsafePickle, VaekitError

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64, torch.complex128),
]
NEW_DTYPES = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]
"""Without a class of storage of their own."""


def awkward_tensors() -> dict[str, Tensor]:
    base = torch.arange(60.0).reshape(3, 4, 5)
    return {
        "plain": base,
        "tied": base,
        "turned": base.transpose(0, 2),
        "strided": base[:, ::2, 1:],
        "shifted": base[1:],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "repeated": torch.ones(1).expand(3),
        "parameter": nn.Parameter(torch.ones(2)),
        **{str(dtype): torch.tensor([0, 1, 1, 0, 1]).to(dtype) for dtype in DTYPES},
    }


def saved(content: object, new: bool = True, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def read_all(path: Path) -> dict[str, Tensor]:
    file = open_tensors(path)
    read = file.read(file.specs)
    assert all((spec.shape, spec.dtype) == (read[name].shape, read[name].dtype) for name, spec in file.specs.items())
    return read


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(ours[name].cpu(), tensor.detach()), name
        assert tensor.numel() == 0 or ours[name].stride() == tensor.stride(), name


@pytest.mark.parametrize("wrapper", ["plain", "ordered", "nested"])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_what_torch_reads_we_read(tmp_path: Path, new: bool, protocol: int, wrapper: str) -> None:
    tensors = awkward_tensors()
    content: Any = collections.OrderedDict(tensors) if wrapper == "ordered" else tensors
    content = {"epoch": 2**40, "rate": 0.1, "done": {1, 2}, "raw": b"\xff", "state_dict": content, "x": (None, [True])}
    (tmp_path / "x.pt").write_bytes(saved(content if wrapper == "nested" else content["state_dict"], new, protocol))
    ours, theirs = read_all(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=False)
    assert_same(ours, theirs["state_dict"] if wrapper == "nested" else theirs)
    assert ours["plain"].untyped_storage()._cdata == ours["turned"].untyped_storage()._cdata
    ours["plain"][0, 0, 0] = 99
    assert ours["tied"][0, 0, 0] == 99
    assert all(tensor.data_ptr() % min(tensor.dtype.itemsize, 8) == 0 for tensor in ours.values() if tensor.numel())


@pytest.mark.parametrize("dtype", NEW_DTYPES, ids=str)
def test_number_formats_without_a_storage_class(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.tensor([0, 1, 2, 3, 4], dtype=torch.float32).to(dtype)
    (tmp_path / "x.pt").write_bytes(saved({"x": numbers, "tail": numbers[2:]}))
    read = read_all(tmp_path / "x.pt")
    assert read["x"].dtype == read["tail"].dtype == dtype
    assert read["x"].float().tolist() == [0, 1, 2, 3, 4]
    assert read["tail"].float().tolist() == [2, 3, 4]


def test_values_that_are_no_tensors(tmp_path: Path) -> None:
    content = {
        "number": -(2**70),
        "text": "\u00e9\n'",
        "raw": b"\0\xff",
        "shape": torch.Size([2, 3]),
        "dtype": torch.float16,
        "sets": ({1, 2}, frozenset({3})),
        "default": collections.defaultdict(list, a=[1]),
        "options": argparse.Namespace(rate=1),
        "path": Path("x"),
        "scalar": np.float64(3),
        "device": torch.device("cpu"),
        1.5: float("inf"),
    }
    expected = content | {
        "shape": (2, 3),
        "default": {"a": [1]},
        "options": Placeholder("argparse.Namespace"),
        "path": Placeholder(f"{type(Path()).__module__}.{type(Path()).__name__}"),
        "device": Placeholder("torch.device"),
    }
    for protocol in (1, 2, 3, 4, 5):
        (tmp_path / "x.pt").write_bytes(saved(content, protocol=protocol))
        read: Any = open_torch_file(tmp_path / "x.pt").content
        assert read.pop("scalar").name.endswith("multiarray.scalar")
        assert read == {key: value for key, value in expected.items() if key != "scalar"}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_of_plain_pickles(tmp_path: Path, protocol: int) -> None:
    content = {"a": [1, 2.5, None, True, "\u20ac"], "b": (1, (2, 3)), "c": {"d": b"\x80\n"}, "e": 10**30, "f": ()}
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(content, protocol))
    assert open_torch_file(tmp_path / "x.pt").content == content


def test_strings_of_python_2(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02(U\x02\xc3\xa9U\x02\xff\xfeS'abc'\nT\x01\0\0\0zt.")
    assert open_torch_file(tmp_path / "x.pt").content == ("\u00e9", "\xff\xfe", "abc", "z")


@pytest.mark.parametrize("dtype", [*DTYPES, *NEW_DTYPES], ids=str)
def test_a_file_of_the_other_byte_order(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.tensor([0, 1, 2, 5]).to(dtype)
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    turned = numbers.view(torch.uint8).reshape(-1, size).flip(1).numpy().tobytes()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"x": numbers}))) as old,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as new,
    ):
        for entry in old.namelist():
            content = {"byteorder": b"big", "0": turned}.get(entry.split("/")[-1], old.read(entry))
            new.writestr(entry, content)
    assert torch.equal(read_all(tmp_path / "x.pt")["x"].view(torch.uint8), numbers.view(torch.uint8))


def test_views_of_storages_before_torch_0_4(tmp_path: Path) -> None:
    """The pickle as torch 0.3 wrote it: a persistent id with a sixth part."""

    class Old(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return tuple(value) if isinstance(value, Pid) else None

    class Pid(list[object]):
        pass

    class Call:
        def __reduce__(self) -> Any:
            pid = Pid(("storage", torch.FloatStorage, "7", "cpu", 6, ("8", 2, 4)))
            return torch._utils._rebuild_tensor, (pid, 1, (3,), (1,))

    stream = io.BytesIO()
    for value in (MAGIC_NUMBER, 1001, {"little_endian": True}):
        pickle.dump(value, stream, 2)
    Old(stream, 2).dump({"x": Call()})
    pickle.dump(["7"], stream, 2)
    stream.write(struct.pack("<q6f", 6, *range(6)))
    (tmp_path / "x.pt").write_bytes(stream.getvalue())
    assert read_all(tmp_path / "x.pt")["x"].tolist() == [3.0, 4.0, 5.0]


REAL = ["taef2/*.pth", "taesana/*.pth", "vae_approx/model.pt", "disentangling/*/model.pt", "joint/*/model.pt"]


@pytest.mark.parametrize("pattern", REAL)
def test_real_files(shared_data: Path, pattern: str) -> None:
    paths = sorted((shared_data / "vae").glob(pattern))
    assert paths, f"no {pattern} in {shared_data}"
    for path in paths:
        assert_same(read_all(path), torch.load(path, map_location="cpu", weights_only=True))


# ---------------------------------------------------------------------------------------------- leftovers, and code


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_lightning_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool, protocol: int) -> None:
    """Its callbacks are keyed by their classes and hold objects of a package that is not installed."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    callback = type("ModelCheckpoint", (), {"__module__": name})
    hparams = type("AttributeDict", (dict,), {"__module__": name})
    vars(module).update(ModelCheckpoint=callback, AttributeDict=hparams)
    with monkeypatch.context() as patch:
        for step in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, step, types.ModuleType(step))
        patch.setitem(sys.modules, name, module)
        state = callback()
        state.__dict__["best"] = torch.ones(1)
        content = {
            "pytorch-lightning_version": "1.4.2",
            "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "self": state}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
            "hyper_parameters": hparams(rate=np.float32(1), options=argparse.Namespace(a=1)),
            "state_dict": collections.OrderedDict(awkward_tensors()),
        }
        (tmp_path / "x.ckpt").write_bytes(saved(content, new, protocol))
    assert_same(read_all(tmp_path / "x.ckpt"), awkward_tensors())
    read: Any = open_torch_file(tmp_path / "x.ckpt").content
    left = Placeholder(f"{name}.ModelCheckpoint")
    assert read["callbacks"][left]["self"] == left
    assert isinstance(read["callbacks"][left]["best_model_score"], StoredTensor)
    assert name not in sys.modules


def test_a_whole_model_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(saved(nn.Linear(2, 2)))
    with pytest.raises(BadCheckpoint, match=r"object of the class torch\.nn\.modules\.linear\.Linear"):
        open_tensors(tmp_path / "x.pt")


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


# ------------------------------------------------------------------------------------------------------ tricks, bombs


def zipped(pickled: bytes, records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ({"data.pkl": pickled} | records).items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


STORAGE = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
"""Four numbers; to be closed by an offset, a shape and strides."""


def tensor_of(view: bytes) -> bytes:
    """A dictionary of one tensor over four numbers."""
    call = b"ctorch._utils\n_rebuild_tensor\n" + STORAGE + view + b"tR"
    return b"\x80\x02}X\x01\0\0\0x" + call + b"s."


VIEWS = {
    "beyond": b"K\x01K\x04\x85K\x01\x85",
    "beyond by a stride": b"K\x00K\x02\x85K\x04\x85",
    "a negative offset": b"J\xff\xff\xff\xffK\x01\x85K\x01\x85",
    "a negative side": b"K\x00J\xff\xff\xff\xff\x85K\x01\x85",
    "a negative stride": b"K\x03K\x02\x85J\xff\xff\xff\xff\x85",
    "swollen": b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85",
    "more strides than sides": b"K\x00K\x02\x85K\x01K\x01\x86",
    "a shape of texts": b"K\x00X\x01\0\0\x004\x85K\x01\x85",
    "a shape of truths": b"K\x00\x88\x85K\x01\x85",
    "no shape": b"K\x00NN",
    "100 sides": b"K\x00(" + b"K\x01" * 100 + b"t(" + b"K\x01" * 100 + b"t",
    "huge and empty": b"K\x00K\x00\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x87K\x01K\x01K\x01\x87",
}


def test_the_view_that_is_right(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(
        zipped(tensor_of(b"K\x01K\x03\x85K\x01\x85"), {"data/0": struct.pack("4f", *range(4))})
    )
    assert read_all(tmp_path / "x.pt")["x"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", VIEWS)
def test_views_that_lie(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(zipped(tensor_of(VIEWS[name]), {"data/0": bytes(16)}))
    with pytest.raises(BadCheckpoint, match="tensor"):
        open_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("records", [{}, {"data/0": bytes(15)}, {"data/1": bytes(16)}])
def test_storages_that_are_not_there(tmp_path: Path, records: dict[str, bytes]) -> None:
    (tmp_path / "x.pt").write_bytes(zipped(tensor_of(b"K\x00K\x01\x85K\x01\x85"), records))
    with pytest.raises(BadCheckpoint, match="storage 0"):
        open_tensors(tmp_path / "x.pt")


BOMBS = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "an empty stack": b"\x80\x02.",
    "a mark missing": b"\x80\x02e.",
    "a memory missing": b"\x80\x02h\x05.",
    "protocol 200": b"\x80\xc8}.",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a text of 2**62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "bytes of 2**62 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a bytearray of 2**62 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "a number of 10,000 digits": b"L" + b"9" * 10_000 + b"L\n.",
    "a number of 10,000 bits": b"\x80\x02\x8b\xe2\x04\0\0" + b"\x7f" * 1250 + b".",
    "a line of a megabyte": b"c" + b"a" * 10**6 + b"\nb\n.",
    "out of band": b"\x80\x05\x97.",
    "an odd number of items": b"\x80\x02}(K\x01K\x02K\x03u.",
    "keys for a list": b"\x80\x02](K\x01K\x02u.",
    "a name of numbers": b"\x80\x04K\x01K\x02\x93.",
    "a subclass of a subclass": (b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00)" + b"(h\x001NNt" * 3 + b"R."),
}


@pytest.mark.parametrize("kind", ["zip", "old"])
@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_are_bombs(tmp_path: Path, name: str, kind: str) -> None:
    old = pickle.dumps(MAGIC_NUMBER, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + BOMBS[name]
    (tmp_path / "x.pt").write_bytes(old if kind == "old" else zipped(BOMBS[name], {}))
    with pytest.raises(BadCheckpoint) as caught:
        open_tensors(tmp_path / "x.pt")
    assert not isinstance(caught.value, UnsafePickle)
    assert "\n" not in str(caught.value)


HEAVY = {
    "deep lists": b"\x80\x02" + b"]" * 150_000 + b"a" * 149_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 150_000 + b".",
    "deep tuples as a key": b"\x80\x02})" + b"\x85" * 150_000 + b"Ns.",
    "deep tuples in a set": b"\x80\x04(\x8f()" + b"\x85" * 150_000 + b"\x90\x91.",
    "doubling tuples as a key": b"\x80\x02})" + b"2\x86" * 200 + b"Ns.",
    "more steps than there may be": b"\x80\x02" + b"]" * (MOST_WORK + 10) + b".",
    "copies of a long list": b"\x80\x02ctorch\nSize\nq\x00]("
    + b"N" * 10_000
    + b"e\x85q\x01"
    + b"h\x00h\x01R" * 1000
    + b".",
    "copies of a long text": (
        b"\x80\x02c_codecs\nencode\nq\x00X"
        + struct.pack("<I", 10**6)
        + b"a" * 10**6
        + b"\x85q\x01"
        + b"h\x00h\x01R" * 1000
    ),
}
READ_ALL = """
import resource, sys
from pathlib import Path
from vaekit.checkpoints.formats.files import open_tensors
from vaekit.errors import BadCheckpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_tensors(path)
    except BadCheckpoint as error:
        print(path.stem, "|", error)
print("MiB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_pickles_that_are_heavy_bombs(tmp_path: Path) -> None:
    """In a process of their own: what fills the stack of C ends the process, and its memory can be measured."""
    pytest.importorskip("resource")
    for name, pickled in HEAVY.items():
        (tmp_path / f"{name}.pt").write_bytes(zipped(pickled, {}))
    ended = subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    *refused, used = ended.stdout.splitlines()
    assert [line.split(" | ")[0] for line in refused] == sorted(HEAVY, key="{}.pt".format)
    assert sum("steps" in line for line in refused) == 3
    assert int(used.split()[1]) < 700


def test_a_pickle_may_hold_itself(tmp_path: Path) -> None:
    loop: dict[str, object] = {"w": torch.ones(2)}
    loop["state_dict"], loop["list"] = loop, [loop]
    (tmp_path / "x.pt").write_bytes(saved(loop))
    assert read_all(tmp_path / "x.pt")["w"].tolist() == [1, 1]


def test_a_record_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x/data.pkl", b"\x80\x02}.")
    with pytest.raises(BadCheckpoint, match="two records"):
        open_tensors(tmp_path / "x.pt")


def test_a_file_that_changes_under_us(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(saved({"x": torch.ones(5000)}))
    file = open_tensors(tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(b"short")
    with pytest.raises(BadCheckpoint, match="changed"):
        file.read(["x"])


# -------------------------------------------------------------------------------------------------------------- mutants

MUTANTS = 500


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Change a few bytes: half of the time where a pickle or the directory of the zip stands."""
    mutant = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        near = content.find(chance.choice((b"\x80\x02", b"PK\x01\x02", b"torch", b"storage")))
        at = (near + chance.randrange(300) if chance.random() < 0.7 else chance.randrange(len(mutant))) % len(mutant)
        match chance.randrange(4):
            case 0:
                mutant[at] ^= 1 << chance.randrange(8)
            case 1:
                mutant[at] = chance.choice(b"(.0125]}Rboci\x81\x93QPtaehjX\x8a\x8d")
            case 2:
                mutant[at:at] = chance.randbytes(chance.randint(1, 4))
            case _:
                del mutant[at : at + chance.randint(1, 4)]
    return bytes(mutant)


@pytest.mark.parametrize("new", [True, False])
def test_mutants_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    """Whatever is in the file: it is read, or it is a VaekitError; nothing is imported and nothing is called."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("code ran")

    content = saved({"epoch": 1, "opt": argparse.Namespace(a=1), "state_dict": awkward_tensors()}, new)
    path, chance, opened = tmp_path / "x.pt", random.Random(20261122), 0
    path.write_bytes(content)
    read_all(path)
    for module, name in ((pickle, "loads"), (subprocess, "Popen"), (importlib, "import_module"), (builtins, "eval")):
        monkeypatch.setattr(module, name, forbidden)
    before = set(sys.modules)
    for _ in range(MUTANTS):
        path.write_bytes(mutate(content, chance))
        try:
            read_all(path)
            opened += 1
        except VaekitError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 1000
    assert 0 < opened < MUTANTS
    assert set(sys.modules) == before
