"""Every number format that a reader accepts works in every verb; a loaded VAE has one dtype."""

from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import pytest
import torch
from every_verb import LONG, QUICK, VERBS, Bench, fill, no_test_cards, outcomes
from quantized_files import PACKED, SCALED, each_layer, read_file
from safetensors.torch import save_file
from torch import Tensor
from vae_fixtures import random_vae

import vaekit
from vaekit.checkpoints.convert import convert
from vaekit.errors import BadCheckpoint, WrongTensors
from vaekit.families import Config, family_with, layout_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.formats.safetensors import DTYPES
from vaekit.formats.safetensors_writer import header, in_order, write_safetensors
from vaekit.identification.metadata import describe
from vaekit.identification.weight_dtypes import common_dtype
from vaekit.identification.weights import piece_in_memory, weights_of
from vaekit.interop.diffusers import as_diffusers
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

CONFIGS: dict[str, Config] = {
    "kl": KLConfig(3, 4, 4, (32, 32), (32, 32), 1, 2, (), (), True, True, True, 32),
    "tiny": TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), False),
}
FLOATING = {name: dtype for name, dtype in DTYPES.items() if dtype.is_floating_point}
Tensors = Mapping[str, Tensor]


def small_vae(family: str) -> VAE:
    """Positive weights: F8_E8M0 has no others."""
    vae = random_vae(CONFIGS[family], LatentNormalization((0.0,), (0.5,)))
    with torch.no_grad():
        for tensor in vae.parameters():
            tensor.copy_(0.1 * tensor.abs() + 1e-3)
    return vae


def tensors_of(family: str, layout: str = "native") -> dict[str, Tensor]:
    """The weights under the names of a layout."""
    config = CONFIGS[family]
    known = family_with(config)
    named = layout_of(layout, family, config)
    assert known is not None and named is not None
    return {piece.name: piece.tensor() for piece in weights_of(small_vae(family), known, config).pieces(named)}


def write(path: Path, tensors: Tensors, config: Config | None = None) -> None:
    """A safetensors file; with a config it states what is measured otherwise."""
    metadata = describe("kl", config, LatentNormalization((0.0,), (0.5,))) if config else {}
    pieces = in_order(piece_in_memory(name, tensor) for name, tensor in tensors.items())
    write_safetensors(path, header(pieces, metadata), pieces, path)


def in_dtype(tensors: Tensors, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def mixed(tensors: Tensors, matrices: torch.dtype, vectors: torch.dtype) -> dict[str, Tensor]:
    """Norms and biases in another dtype than the weights of convolutions."""
    return {name: tensor.to(matrices if tensor.dim() > 1 else vectors) for name, tensor in tensors.items()}


def in_gguf(path: Path, tensors: Tensors) -> None:
    """What fits into blocks of 32 in Q8_0, other matrices in F16, vectors in F32."""
    writer = gguf.GGUFWriter(path, "vae")
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0
        if tensor.dim() == 1:
            writer.add_tensor(name, values)
        elif values.size % 32 == 0 and tensor.shape[-1] % 32 == 0:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values.astype("float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def by_torch(dtype: torch.dtype, zipped: bool = True) -> Callable[[Path, Tensors], None]:
    return lambda path, tensors: torch.save(in_dtype(tensors, dtype), path, _use_new_zipfile_serialization=zipped)


def as_numpy(dtype: torch.dtype) -> Callable[[Path, Tensors], None]:
    return lambda path, tensors: torch.save(
        {"state_dict": {name: tensor.to(dtype).numpy() for name, tensor in tensors.items()}}, path
    )


WRITERS: dict[str, Callable[[Path, Tensors], None]] = {
    **{name: lambda path, each, dtype=dtype: write(path, in_dtype(each, dtype)) for name, dtype in FLOATING.items()},
    **{f"torch {name}": by_torch(dtype) for name, dtype in FLOATING.items()},
    "old torch F16": by_torch(torch.float16, zipped=False),
    "old torch F64": by_torch(torch.float64, zipped=False),
    "F32 norms, F16": lambda path, each: write(path, mixed(each, torch.float16, torch.float32)),
    "F32 norms, F8": lambda path, each: write(path, mixed(each, torch.float8_e4m3fn, torch.float32)),
    "F16 norms, F8": lambda path, each: write(path, mixed(each, torch.float8_e5m2, torch.float16)),
    "BF16 norms, F16": lambda path, each: write(path, mixed(each, torch.float16, torch.bfloat16)),
    "GGUF": in_gguf,
    **{
        form: lambda path, each, quantize=quantize: write(path, each_layer(each, quantize))
        for form, (quantize, _) in SCALED.items()
    },
}
LOADED = {
    **dict.fromkeys(WRITERS, torch.float32),
    **{f"{prefix}{name}": common_dtype([dtype]) for name, dtype in FLOATING.items() for prefix in ("", "torch ")},
    "old torch F16": torch.float16,
    "old torch F64": torch.float64,
    "F16 norms, F8": torch.float16,
}
FEW = {"F8_E4M3": "tiny", "rotated": "tiny"}
"""What is driven through the verbs each time, in a VAE of which family."""
KL_TOO = ("F8_E5M2", "F32 norms, F16", "BF16 norms, F16", "GGUF", "by block", "rotated")


@pytest.mark.parametrize(
    ("family", "form"), [*(("tiny", form) for form in WRITERS), *(("kl", form) for form in KL_TOO)]
)
def test_a_loaded_vae_has_one_dtype_and_runs_in_pipelines(family: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "vae.file"
    WRITERS[form](path, tensors_of(family, "ldm" if family == "kl" else "native"))
    vae = vaekit.load(path, padding=None if family == "tiny" else "zeros")
    assert {each.dtype for each in vae.state_dict().values()} == {LOADED[form]}
    told = vaekit.inspect(path, hash=False, measure=False)
    assert f"torch.{told.loaded_dtype}" == str(LOADED[form])
    assert bool(told.quantization) == (form in SCALED)
    model = as_diffusers(vae, normalization=LatentNormalization((0.0,), (0.5,)))
    assert model.dtype == LOADED[form]
    encoded = model.encode(torch.zeros(1, 3, 8, 8))
    latents = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded.latents
    image = model.decode(latents).sample
    assert image.dtype == latents.dtype == LOADED[form] and image.shape == (1, 3, 8, 8)


@pytest.mark.parametrize("name", sorted(DTYPES.keys() - FLOATING.keys()))
def test_weights_of_other_dtypes_are_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "x", in_dtype(tensors_of("tiny"), DTYPES[name]))
    with pytest.raises(WrongTensors) as refusal:
        vaekit.load(tmp_path / "x")
    assert str(DTYPES[name]).removeprefix("torch.") in refusal.value.found


@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_are_refused_by_name(name: str, tmp_path: Path) -> None:
    plain = tensors_of("kl", "ldm")
    write(tmp_path / "x", each_layer(plain, PACKED[name]))
    with pytest.raises(BadCheckpoint) as refusal:
        vaekit.load(tmp_path / "x")
    assert name in refusal.value.found


@pytest.mark.parametrize("name", ["bitsandbytes nf4", "GPTQ", "NVFP4", "by tensor", "rotated"])
def test_a_plain_vae_beside_a_quantized_model_stays_as_it_is(name: str, tmp_path: Path) -> None:
    plain = in_dtype(tensors_of("kl", "ldm"), torch.float16)
    quantize = PACKED[name] if name in PACKED else SCALED[name][0]
    model = each_layer({f"model.diffusion_model.{i}.weight": torch.randn(64, 64) for i in range(3)}, quantize)
    model["model.diffusion_model.scaled_fp8"] = torch.zeros(2)
    whole = {f"first_stage_model.{key}": tensor for key, tensor in plain.items()} | model
    save_file(whole, tmp_path / "whole.safetensors", {"b": "2"})
    vae = vaekit.load(tmp_path / "whole.safetensors", padding="zeros")
    assert {each.dtype for each in vae.state_dict().values()} == {torch.float16}
    assert not vaekit.inspect(tmp_path / "whole.safetensors", hash=False, measure=False).quantization
    vaekit.extract(tmp_path / "whole.safetensors", tmp_path / "vae.safetensors")
    vaekit.bake(tmp_path / "whole.safetensors", tmp_path / "vae.safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def stated(path: Path) -> None:
    """State the normalization and padding of a KL autoencoder in its file, which are measured otherwise."""
    tensors, _ = read_file(path)
    write(path, tensors, CONFIGS["kl"])


def bench_for(family: str, form: str, folder: Path, lpips: Path) -> Bench:
    (folder / "models").mkdir()
    (folder / "work").mkdir()
    path = folder / "models" / f"vae{'.gguf' if form == 'GGUF' else '.pt' if 'torch' in form else '.safetensors'}"
    WRITERS[form](path, tensors_of(family, "ldm" if family == "kl" else "native"))
    if family == "kl" and path.suffix == ".safetensors" and form in FEW:
        stated(path)
    return Bench(path, fill(folder / "images", 3), lpips, folder / "work")


def check_works(bench: Bench, family: str, verbs: Mapping[str, Callable[[Bench], tuple[object, ...]]]) -> None:
    """Every verb succeeds, except for layouts that the family does not have; the health of random weights is bad."""
    for verb, code in outcomes(bench, dict(verbs)):
        possible = {"doctor": {0, 1}, "convert original": {1}, "convert tiny": {1}, "bake": {0}}.get(verb, {0})
        if family == "tiny":
            possible = {"convert tiny": {0}, "convert ldm": {1}}.get(verb, possible)
        if bench.vae.suffix == ".gguf" and verb == "bake":
            possible = {0, 1}
        assert code in possible, verb


@pytest.mark.parametrize("form", FEW)
def test_number_formats_work_in_every_quick_verb(form: str, tmp_path: Path, lpips_file: Path) -> None:
    check_works(bench_for(FEW[form], form, tmp_path, lpips_file), FEW[form], QUICK)


def test_fp8_works_in_long_verbs_and_is_not_what_training_is_rounded_to(
    tmp_path: Path, lpips_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_test_cards(monkeypatch)
    bench = bench_for("tiny", "F8_E4M3", tmp_path, lpips_file)
    same = {"convert": QUICK["convert"]}
    check_works(bench, "tiny", same | {name: verb for name, verb in LONG.items() if name != "doctor"})
    result, before = (vaekit.load(path).state_dict() for path in (bench.work / "run", bench.vae))
    assert {each.dtype for each in result.values()} == {torch.bfloat16}
    for key, each in before.items():
        assert torch.equal(result[key], each) == key.startswith("encoder"), key


@pytest.mark.nightly
@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("family", CONFIGS)
def test_every_number_format_works_in_every_verb(
    family: str, form: str, tmp_path: Path, lpips_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_test_cards(monkeypatch)
    check_works(bench_for(family, form, tmp_path, lpips_file), family, VERBS)


def test_a_quantized_vae_in_a_checkpoint_is_replaced_with_its_scales(tmp_path: Path) -> None:
    plain = tensors_of("kl", "ldm")
    vae = {f"first_stage_model.{key}": each for key, each in each_layer(plain, SCALED["rotated"][0]).items()}
    model = {"model.diffusion_model.x.weight": torch.ones(3, 3).to(torch.float8_e4m3fn)}
    model |= {"model.diffusion_model.x.scale_weight": torch.ones(()), "model.diffusion_model.scaled_fp8": torch.ones(1)}
    save_file(vae | model | {"first_stage_model.scaled_fp8": torch.ones(1)}, tmp_path / "whole.safetensors")
    new = in_dtype({key: each + 0.01 for key, each in plain.items()}, torch.bfloat16)
    write(tmp_path / "new.safetensors", new)
    done = vaekit.bake(tmp_path / "whole.safetensors", tmp_path / "new.safetensors", tmp_path / "out.safetensors", True)
    tensors, _ = read_file(tmp_path / "out.safetensors")
    assert tensors.keys() == model.keys() | {f"first_stage_model.{key}" for key in plain}
    assert all(torch.equal(tensors[f"first_stage_model.{key}"], each) for key, each in new.items())
    assert done.dtypes == ("bfloat16",) and done.kept == len(model)
    assert done.removed == len(vae) + 1 - len(plain)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_a_quantized_vae_keeps_the_scales_of_the_other_half(half: str, tmp_path: Path) -> None:
    plain = tensors_of("tiny")
    whole = each_layer(plain, SCALED["by tensor"][0]) | {"scaled_fp8": torch.ones(1)}
    save_file(whole, tmp_path / "whole.safetensors")
    vae = small_vae("tiny")
    setattr(vae, half, None)
    vaekit.save(vae, tmp_path / "other.safetensors")
    vaekit.bake(tmp_path / "whole.safetensors", tmp_path / "other.safetensors", tmp_path / "out.safetensors", True)
    tensors, _ = read_file(tmp_path / "out.safetensors")
    scales = {key for key in tensors if "scale" in key}
    assert scales == {key for key in whole if "scale" in key and (key.startswith(half) or key == "scaled_fp8")}
    assert vaekit.inspect(tmp_path / "out.safetensors", hash=False, measure=False).quantization == ("scaled fp8",)


def test_conversion_keeps_plain_fp8_and_widens_scaled_fp8(tmp_path: Path) -> None:
    for form, dtype in (("F8_E5M2", torch.float8_e5m2), ("by row", torch.float32)):
        WRITERS[form](tmp_path / form, tensors_of("tiny"))
        convert(tmp_path / form, tmp_path / f"{form}.safetensors")
        written, _ = read_file(tmp_path / f"{form}.safetensors")
        assert {each.dtype for each in written.values() if each.dim() > 1} == {dtype}
        one, other = (vaekit.load(path).state_dict() for path in (tmp_path / form, tmp_path / f"{form}.safetensors"))
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("form", SCALED)
def test_a_quantized_vae_computes_what_its_source_does_within_rounding(form: str, tmp_path: Path) -> None:
    source = replace_weights(small_vae("kl"))
    config = CONFIGS["kl"]
    known, layout = family_with(config), layout_of("ldm", "kl", config)
    assert known is not None and layout is not None
    plain = {piece.name: piece.tensor() for piece in weights_of(source, known, config).pieces(layout)}
    quantize, bound = SCALED[form]
    write(tmp_path / "x", each_layer(plain, quantize))
    vae = vaekit.load(tmp_path / "x", padding="zeros")
    for key, weight in source.state_dict().items():
        loss = (vae.state_dict()[key] - weight).norm() / weight.norm()
        assert loss < bound, key
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    exact, rounded = source.reconstruct(image), vae.reconstruct(image)
    assert (rounded - exact).norm() / (exact - exact.mean()).norm() < 8 * bound


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_a_normalization_in_tensors_may_be_in_fp8(dtype: torch.dtype, flux2_vae: VAE, tmp_path: Path) -> None:
    vaekit.save(flux2_vae, tmp_path / "x.safetensors", layout="ldm")
    tensors, _ = read_file(tmp_path / "x.safetensors")
    write(tmp_path / "y", {key: each.to(dtype) if each.is_floating_point() else each for key, each in tensors.items()})
    normalization = vaekit.inspect(tmp_path / "y", hash=False, measure=False).normalization
    expected = tensors["bn.running_mean"].to(dtype).double()
    assert normalization is not None and list(normalization.shift) == expected.tolist()


def replace_weights(vae: VAE) -> VAE:
    """Random weights of both signs, at the usual scale."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in vae.state_dict().items():
            spread = 1 if "norm" in key and key.endswith("weight") else 0.0
            fan = tensor[0].numel() if tensor.dim() > 1 else 100
            tensor.copy_(spread + torch.randn(tensor.shape, generator=generator) / fan**0.5)
    return vae
