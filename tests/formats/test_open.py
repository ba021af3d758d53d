"""Weights files become named tensors: formats, mapping, wrappers."""

import gc
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vaekit.errors import BadCheckpoint, NotFound
from vaekit.formats.open import open_tensors
from vaekit.formats.safetensors import DTYPES

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
LEGACY = {"_use_new_zipfile_serialization": False}


def anonymous_memory() -> int:
    """Bytes of this process that no file stands behind."""
    gc.collect()
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def test_only_the_header_of_a_safetensors_file_is_told_before_reading(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "x.bin", {"made": "here"})
    file = open_tensors(tmp_path / "x.bin")
    assert (file.format, file.metadata) == ("safetensors", {"made": "here"})
    assert {name: spec.shape for name, spec in file.specs.items()} == {"a.weight": (2, 3), "a.bias": (2,)}
    assert torch.equal(file.read(["a.weight"])["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "params_ema"])
def test_pickles_with_their_wrappers(tmp_path: Path, legacy: bool, wrapper: str | None) -> None:
    content = WEIGHTS if wrapper is None else {"epoch": 3, "global_step": 9, "lr": 0.1, wrapper: WEIGHTS}
    torch.save(content, tmp_path / "x.safetensors", **(LEGACY if legacy else {}))
    file = open_tensors(tmp_path / "x.safetensors")
    assert file.format == "pickle"
    read = file.read(WEIGHTS)
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_parameters_and_order_do_not_matter(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict() | {"step": 5, "p": nn.Parameter(torch.ones(1))}, tmp_path / "x.pt")
    assert set(open_tensors(tmp_path / "x.pt").specs) == {"weight", "bias", "p"}


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_tensors_are_mapped_and_the_file_is_never_written_to(tmp_path: Path, name: str) -> None:
    pytest.importorskip("resource", reason="needs /proc")
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    path = tmp_path / name
    big: dict[str, Tensor] = {f"layer{i}.weight": torch.full((1000, 1500), float(i)) for i in range(10)}
    save_file(big, path) if name.endswith("safetensors") else torch.save(big, path)
    del big
    before, stamp = anonymous_memory(), path.stat().st_mtime_ns
    read = open_tensors(path).read([f"layer{i}.weight" for i in range(10)])
    assert sum(float(tensor[0, 0]) for tensor in read.values()) == 45.0
    assert anonymous_memory() - before < path.stat().st_size / 4
    read["layer0.weight"].add_(1)
    assert float(open_tensors(path).read(["layer0.weight"])["layer0.weight"].sum()) == 0.0
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_number_format_that_the_library_reads(tmp_path: Path, dtype: str) -> None:
    save_file({"x": torch.zeros(4, dtype=torch.uint8).to(DTYPES[dtype])}, tmp_path / "x")
    assert open_tensors(tmp_path / "x").specs["x"].dtype == DTYPES[dtype]


@pytest.mark.parametrize("path", ["absent.pt", "absent/absent.pt", "x" * 5000, "nul\0byte"])
def test_a_file_that_is_not_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotFound):
        open_tensors(tmp_path / path)


def test_folders_and_pipes_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path, tmp_path / "pipe.pt"):
        with pytest.raises(BadCheckpoint):
            open_tensors(path)


@pytest.mark.parametrize("content", [b"", b"x", b"<html>not found</html>", b"version https://git-lfs", b"\0" * 100])
def test_what_is_no_weights_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.safetensors")


def test_a_pickle_without_names_is_refused(tmp_path: Path) -> None:
    for content in (torch.ones(3), [torch.ones(3)], {"epoch": 1}, {}):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(BadCheckpoint):
            open_tensors(tmp_path / "x.pt")


def test_only_plain_tensors_count(tmp_path: Path) -> None:
    odd = {"sparse": torch.eye(3).to_sparse(), "meta": torch.ones(2, device="meta"), "plain": torch.ones(2)}
    torch.save(odd, tmp_path / "x.pt")
    assert set(open_tensors(tmp_path / "x.pt").specs) == {"plain"}


def test_a_compressed_zip_is_refused_rather_than_mapped(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "y.pt")
