"""Files with quantized weights, presented as if they held the weights."""

import json
from pathlib import Path

import pytest
import torch
from quantized_files import PACKED, SCALED, each_layer, text
from safetensors.torch import save_file
from torch import Tensor

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import check_readable, open_tensors
from vaekit.formats.quantization import LONGEST_FORMAT, METADATA, metadata_without, without_quantization
from vaekit.formats.tensor_file import TensorFile

PLAIN = {
    "a.conv.weight": torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0)),
    "a.conv.bias": torch.randn(16),
    "a.norm.weight": torch.randn(16),
    "b.linear.weight": torch.randn(8, 16, generator=torch.Generator().manual_seed(1)),
}


def opened(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> TensorFile:
    save_file(tensors, folder / "x.safetensors", metadata)
    return open_tensors(folder / "x.safetensors")


def error(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("form", SCALED)
def test_scales_are_applied_and_hidden(form: str, tmp_path: Path) -> None:
    quantize, bound = SCALED[form]
    file = opened(tmp_path, each_layer(PLAIN, quantize) | {"scaled_fp8": torch.zeros(2)})
    view = without_quantization(file)
    assert view.specs.keys() == PLAIN.keys()
    read = view.read(PLAIN)
    for key, tensor in PLAIN.items():
        assert view.specs[key].dtype == read[key].dtype == torch.float32
        assert view.specs[key].shape == tensor.shape
        assert error(read[key], tensor) < bound
    assert torch.equal(read["a.conv.bias"], PLAIN["a.conv.bias"])
    assert view.specs["a.conv.weight"].quantization
    assert not view.specs["a.norm.weight"].quantization
    assert view.span("a.conv.weight") is None
    assert view.span("a.norm.weight") == file.span("a.norm.weight")
    assert without_quantization(view) is view


@pytest.mark.parametrize("form", SCALED)
def test_files_of_torch_are_presented_the_same_way(form: str, tmp_path: Path) -> None:
    quantize, bound = SCALED[form]
    torch.save(each_layer(PLAIN, quantize), tmp_path / "x.pt")
    read = without_quantization(open_tensors(tmp_path / "x.pt")).read(PLAIN)
    assert max(error(read[key], tensor) for key, tensor in PLAIN.items()) < bound


@pytest.mark.parametrize("name", PACKED)
def test_other_quantizations_are_named_where_their_weights_are_needed(name: str, tmp_path: Path) -> None:
    view = without_quantization(opened(tmp_path, each_layer(PLAIN, PACKED[name])))
    assert view.specs.keys() == PLAIN.keys()
    check_readable(view, ["a.conv.bias", "a.norm.weight"])
    with pytest.raises(BadCheckpoint) as refusal:
        check_readable(view, PLAIN)
    assert f"as {name}, such as a.conv.weight" in refusal.value.found


def test_a_file_without_quantization_is_not_wrapped(tmp_path: Path) -> None:
    file = opened(tmp_path, {**PLAIN, "gate.scale": torch.ones(3), "norm.scales": torch.ones(2)})
    assert without_quantization(file) is file


def test_formats_in_the_metadata_are_those_of_the_layers(tmp_path: Path) -> None:
    tensors = each_layer(PLAIN, SCALED["rotated"][0])
    formats = {
        key.removesuffix(".comfy_quant"): json.loads(bytes(tensors.pop(key).tolist()))
        for key in list(tensors)
        if key.endswith(".comfy_quant")
    }
    nested = {name: {"format": each.pop("format"), "params": each} for name, each in formats.items()}
    file = opened(tmp_path, tensors, {METADATA: json.dumps({"format_version": "1.0", "layers": nested})})
    view = without_quantization(file)
    assert view.specs["a.conv.weight"].quantization == "int8 convrot"
    assert error(view.read(["a.conv.weight"])["a.conv.weight"], PLAIN["a.conv.weight"]) < 0.015


def test_bytes_of_fp8_may_be_stored_as_integers(tmp_path: Path) -> None:
    tensors = each_layer(PLAIN, SCALED["by tensor"][0])
    for key in ("a.conv", "b.linear"):
        tensors[f"{key}.weight"] = tensors[f"{key}.weight"].view(torch.uint8)
        tensors[f"{key}.comfy_quant"] = text(format="float8_e4m3fn", full_precision_matrix_mult=True)
    read = without_quantization(opened(tmp_path, tensors)).read(PLAIN)
    assert error(read["a.conv.weight"], PLAIN["a.conv.weight"]) < 0.035


@pytest.mark.parametrize(
    "beside",
    [
        {"weight_scale": torch.ones(5)},
        {"weight_scale": torch.ones(16, 5, 1, 1)},
        {"weight_scale": torch.ones(16, dtype=torch.int32)},
        {"weight_scale": torch.ones(1), "comfy_quant": text(format="int8_tensorwise", convrot=True)},
        {"weight_scale": torch.ones(1), "comfy_quant": text(format="float8_e5m2")},
        {"comfy_quant": text(format="int8_tensorwise")},
    ],
    ids=str,
)
def test_scales_that_do_not_fit_are_refused_rather_than_guessed(beside: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = {"a.conv.weight": torch.ones(16, 16, 3, 3, dtype=torch.int8)}
    view = without_quantization(opened(tmp_path, tensors | {f"a.conv.{key}": each for key, each in beside.items()}))
    with pytest.raises(BadCheckpoint):
        check_readable(view, ["a.conv.weight"])


@pytest.mark.parametrize(
    "blob",
    [
        torch.full((40,), 255, dtype=torch.uint8),
        torch.full((LONGEST_FORMAT + 1,), 91, dtype=torch.uint8),
        torch.full((4000,), 91, dtype=torch.uint8),  # "[[[[..."
        torch.zeros(3),
        torch.zeros((2, 2), dtype=torch.uint8),
        text(format=["int8"], convrot=True, convrot_groupsize="many"),
        text(format="int8_tensorwise", convrot=1, convrot_groupsize=-4, params=7),
    ],
    ids=["bytes", "long", "nested", "floats", "matrix", "lists", "numbers"],
)
def test_senseless_formats_are_ignored_or_refused(blob: Tensor, tmp_path: Path) -> None:
    tensors = each_layer(PLAIN, SCALED["rotated"][0]) | {"a.conv.comfy_quant": blob}
    view = without_quantization(opened(tmp_path, tensors, {METADATA: '{"layers": [1]}'}))
    assert view.specs.keys() == PLAIN.keys()
    readable = [key for key in PLAIN if view.specs[key].readable]
    assert view.read(readable).keys() == set(readable)


def test_metadata_lose_the_formats_of_layers_that_are_gone() -> None:
    metadata = {"a": "1", METADATA: json.dumps({"layers": {"x": {}, "y": {}}})}
    assert json.loads(metadata_without(metadata, ["x", "z"])[METADATA]) == {"layers": {"y": {}}}
    assert metadata_without(metadata, ["x", "y"]) == {"a": "1"}
    assert metadata_without(metadata, ["z"]) == metadata
