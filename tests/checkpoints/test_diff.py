"""Two VAE files, tensor by tensor."""

import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.diff import diff_files, is_rounding
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.normalization import LatentNormalization


@pytest.fixture
def native(tmp_path: Path) -> Path:
    vae = load("builtin").float()
    with torch.no_grad():
        for weight in vae.parameters():
            weight *= 1.001  # the built-in VAE is stored in half precision
    save(vae, tmp_path / "native.safetensors")
    return tmp_path / "native.safetensors"


def changed(path: Path, target: Path, key: str, value: float) -> Path:
    tensors = load_file(path)
    tensors[key].view(-1)[0] = value
    with safe_open(path, "pt") as file:
        save_file(tensors, target, file.metadata())
    return target


def test_layouts_do_not_matter(native: Path, tmp_path: Path) -> None:
    convert(native, tmp_path / "diffusers", "diffusers")
    found = diff_files(native, tmp_path / "diffusers")
    assert found.same and found.counts["equal"] == len(found.tensors) > 100
    assert found.layouts == ("native", "diffusers") and not found.config and not found.largest(5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_rounding_to_half_precision_is_close(native: Path, tmp_path: Path, dtype: str) -> None:
    convert(native, tmp_path / "half.safetensors", dtype=dtype)
    found = diff_files(native, tmp_path / "half.safetensors")
    assert found.same and not found.counts["different"] and found.counts["close"] > 50
    assert all(tensor.note.startswith("float32 and ") for tensor in found.tensors)


def test_one_changed_value_is_found(native: Path, tmp_path: Path) -> None:
    other = changed(native, tmp_path / "other.safetensors", "decoder.conv_in.weight", 100)
    found = diff_files(native, other)
    (largest,) = found.largest(5)
    assert not found.same and found.counts["different"] == 1
    assert largest.name == "decoder.conv_in.weight" and largest.largest == pytest.approx(100, abs=1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_values(native: Path, tmp_path: Path, value: float) -> None:
    other = changed(native, tmp_path / "other.safetensors", "decoder.conv_in.weight", value)
    assert diff_files(other, other).same
    (largest,) = diff_files(native, other).largest(1)
    assert largest.status == "different" and largest.largest == math.inf


def test_what_one_file_lacks_is_named(native: Path, tmp_path: Path) -> None:
    vae = load(native)
    vae.encoder = None
    save(vae, tmp_path / "decoder.safetensors")
    found = diff_files(native, tmp_path / "decoder.safetensors")
    assert not found.same and found.counts["missing"] and not found.counts["different"]
    assert {tensor.note for tensor in found.tensors if tensor.status == "missing"} == {"only in the first file"}
    assert all(tensor.name.startswith("encoder.") for tensor in found.largest(10))


def test_another_normalization_is_another_vae(native: Path, tmp_path: Path) -> None:
    vae = load(native)
    vae.normalization = LatentNormalization(scale=(2.0,))
    save(vae, tmp_path / "other.safetensors")
    found = diff_files(native, tmp_path / "other.safetensors")
    assert not found.same and found.same_normalization is False and found.counts["equal"] == len(found.tensors)


def test_rounding_is_judged_value_by_value() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for dtype in (torch.bfloat16, torch.float16):
        y = x.to(dtype).double()
        assert is_rounding(x, y, (x - y).abs())
    y = x.to(torch.float8_e4m3fn).double()
    assert not is_rounding(x, y, (x - y).abs())
