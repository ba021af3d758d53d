"""NaN and infinite weights are counted while they are hashed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import lacks
from safetensors.torch import load_file, save_file

import vaekit
from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.extract import extract
from vaekit.checkpoints.save import save
from vaekit.identification.fingerprint import TensorValues, in_parts
from vaekit.identification.non_finite import (
    NonFiniteCounter,
    NonFiniteTensor,
    count_non_finite,
    non_finite_text,
    non_finite_weights,
)
from vaekit.tasks.convert import convert
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
def test_values_are_counted(dtype: torch.dtype) -> None:
    assert count_non_finite(torch.tensor([1.0, NAN, INF, -INF, 0.0]).to(dtype)) == (1, 2)
    assert count_non_finite(torch.tensor([1.0, -2.0]).to(dtype)) == (0, 0)


def test_large_values_integers_and_nothing_are_finite() -> None:
    for values in (torch.tensor([3e38, 3e38, -3e38]), torch.arange(3), torch.empty(0)):
        assert count_non_finite(values) == (0, 0)


def test_a_counter_does_not_change_what_is_read() -> None:
    values = torch.tensor([1.0, NAN, 2.0])
    counter = NonFiniteCounter()
    tensors = [TensorValues("a", (3,), lambda: in_parts(values)), TensorValues("b", (1,), lambda: [torch.ones(1)])]
    read = {tensor.key: torch.cat(list(tensor.parts())) for tensor in counter.watch(tensors)}
    assert torch.equal(read["a"].nan_to_num(9), torch.tensor([1.0, 9.0, 2.0]))
    assert counter.tensors == (NonFiniteTensor("a", 1, 0, 3),)


def test_text_names_a_few() -> None:
    text = non_finite_text([NonFiniteTensor(f"layer{i}", 1, 1, 10) for i in range(5)])
    assert "10 values of 5 tensors" in text
    assert "layer0 (2 of 10)" in text
    assert "layer4" not in text


def test_an_inspection_names_tensors_of_the_file(tmp_path: Path, kl_vae: VAE) -> None:
    save(kl_vae, tmp_path / "x.safetensors", "ldm")
    tensors = load_file(tmp_path / "x.safetensors")
    tensors["decoder.up.0.block.0.conv1.weight"].view(-1)[:3] = NAN
    tensors["quant_conv.bias"][0] = INF
    save_file(tensors, tmp_path / "y.safetensors")
    inspection = vaekit.inspect(tmp_path / "y.safetensors", measure=False)
    assert inspection.non_finite is not None
    assert {(each.name, each.nan, each.infinite) for each in inspection.non_finite} == {
        ("decoder.up.0.block.0.conv1.weight", 3, 0),
        ("quant_conv.bias", 0, 1),
    }
    assert any("quant_conv.bias" in problem for problem in inspection.problems)
    assert vaekit.inspect(tmp_path / "x.safetensors", measure=False).non_finite == ()
    assert vaekit.inspect(tmp_path / "y.safetensors", hash=False, measure=False).non_finite is None
    loaded = vaekit.load(tmp_path / "y.safetensors", padding="zeros")
    assert sum(each.nan + each.infinite for each in non_finite_weights(loaded)) == 4


@pytest.mark.parametrize(
    ("key", "value", "dtype"),
    [("encoder.conv_in.weight", NAN, torch.float32), ("decoder.conv_out.bias", -INF, torch.float16)],
)
def test_verbs_that_write_weights_name_such_values(
    tmp_path: Path,
    kl_vae: VAE,
    whole_checkpoint: Callable[..., Path],
    key: str,
    value: float,
    dtype: torch.dtype,
) -> None:
    healthy = whole_checkpoint(kl_vae, "healthy.safetensors")
    save(kl_vae.to(dtype), tmp_path / "good.safetensors")
    kl_vae.state_dict()[key].view(-1)[1] = value
    broken = whole_checkpoint(kl_vae, "broken.safetensors")
    save(kl_vae, tmp_path / "bad.safetensors")
    for name, words in (("good", ()), ("bad", (key, "1 value"))):
        options = ModelOptions(str(tmp_path / f"{name}.safetensors"))
        converted = convert(options, tmp_path / "converted.safetensors").problem
        baked = bake(healthy, options.vae, tmp_path / "baked.safetensors", assume_same_normalization=True).notes
        taken = extract(broken if words else healthy, tmp_path / "taken.safetensors").problem
        for text in (converted, taken, *(note for note in baked if "NaN" in note)):
            assert bool(text) == bool(words)
            assert not lacks(text, *words)
        assert any("NaN" in note for note in baked) == bool(words)
