"""GGUF files as the package and stable-diffusion.cpp write them: what is read, from which numbers, and how lazily."""

import mmap
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from refusals import refuses
from slow_cases import nightly
from torch import Tensor

from vaekit.checkpoints.load import load
from vaekit.errors import BadCheckpoint, MissingPackage
from vaekit.families import family_of
from vaekit.families.kl.net import KLConfig
from vaekit.formats.gguf import Cursor, Entry, entry_of, read_metadata, read_tensor, reshaped, skip_array, spec_of
from vaekit.formats.open import open_tensors
from vaekit.identification.weights import weights_of
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.vae import VAE

Kind = gguf.GGMLQuantizationType
Tensors = dict[str, Tensor]
WORDS = {"general.name": "a VAE", "long": "x" * 70_000}


def write(
    path: Path, tensors: Mapping[str, Tensor], kinds: Callable[[str, Tensor], Kind] | Kind, **told: object
) -> Path:
    """Write a GGUF file with the package's own writer; tensors whose rows are no blocks are not quantized."""
    writer = gguf.GGUFWriter(path, "vae", endianess=told.pop("endian", gguf.GGUFEndian.LITTLE))  # type: ignore[arg-type]
    for key, value in told.items():
        writer.add_array(key.replace("__", "."), value) if isinstance(value, list) else writer.add_string(
            key, str(value)
        )
    for name, tensor in tensors.items():
        kind = kinds(name, tensor) if callable(kinds) else kinds
        numbers = tensor.detach().float().numpy()
        writer.add_tensor(name, gguf.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read_all(path: Path) -> Tensors:
    file = open_tensors(path)
    read = file.read(file.specs)
    assert all((spec.shape, spec.dtype) == (read[name].shape, read[name].dtype) for name, spec in file.specs.items())
    return read


NUMBERS = torch.linspace(-3, 3, 2 * 3 * 4 * 64).reshape(2, 3, 4, 64)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(Kind.F32, torch.float32), (Kind.F16, torch.float16), (Kind.BF16, torch.bfloat16)]
)
def test_plain_numbers_are_read_as_they_are(tmp_path: Path, kind: Kind, dtype: torch.dtype) -> None:
    tensors = {"four": NUMBERS, "one": NUMBERS.flatten()[:7], "matrix": NUMBERS[0, 0]}
    path = write(tmp_path / "x.gguf", tensors, kind, **WORDS)
    read = read_all(path)
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == dtype
        assert torch.equal(read[name], tensor.to(dtype))
    file = open_tensors(path)
    assert (file.format, file.metadata["general.name"]) == ("gguf", "a VAE")
    assert "long" not in file.metadata


def test_blocks_of_eight_bits_become_the_very_products_in_fp32(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", {"x": NUMBERS}, Kind.Q8_0)
    spec = open_tensors(path).specs["x"]
    assert (spec.shape, spec.dtype, spec.stored_as) == (tuple(NUMBERS.shape), torch.float32, "q8_0")
    read = read_all(path)["x"]
    blocks = np.frombuffer(path.read_bytes()[-NUMBERS.numel() // 32 * 34 :], np.uint8).reshape(-1, 34)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float64)
    products = torch.from_numpy(blocks[:, 2:].view(np.int8).astype(np.float64) * scales)
    assert torch.equal(read.double().reshape(-1, 32), products)
    assert not torch.equal(read, read.half().float())
    assert (read - NUMBERS).abs().max() <= NUMBERS.abs().max() / 127


# ---------------------------------------------------------------------------------- a VAE from stable-diffusion.cpp


def kind_in_sd_cpp(name: str, tensor: Tensor) -> Kind:
    """Biases and norms stay F32, matrices are quantized, and convolutions, whose rows are too short, stay F16."""
    if tensor.dim() < 2:
        return Kind.F32
    return Kind.Q8_0 if tensor.shape[-1] % 32 == 0 else Kind.F16


def as_read(kind: Kind, tensor: Tensor) -> Tensor:
    if kind == Kind.Q8_0:
        return torch.from_numpy(gguf.dequantize(gguf.quantize(tensor.numpy(), kind), kind))
    return tensor.half() if kind == Kind.F16 else tensor


@pytest.fixture
def ldm_tensors(kl_vae: VAE) -> Tensors:
    """An LDM state dict with matrices in its attention, as diffusers and some converters leave them."""
    family, config = family_of("kl"), kl_vae.config
    layout = next(layout for layout in family.layouts if layout.name == "ldm")
    tensors = {piece.name: piece.tensor() for piece in weights_of(kl_vae, family, config).pieces(layout)}
    return {name: x.flatten(1) if ".attn_1." in name and x.dim() == 4 else x for name, x in tensors.items()}


@pytest.mark.parametrize("prefix", ["first_stage_model.", *nightly("", "vae.")])
def test_a_vae_loads_equal_to_its_source(
    tmp_path: Path, kl_vae: VAE, kl_config: KLConfig, ldm_tensors: Tensors, prefix: str
) -> None:
    named = {prefix + name: tensor for name, tensor in ldm_tensors.items()}
    if prefix:
        named["model.diffusion_model.input_blocks.0.0.weight"] = torch.ones(8, 4, 3, 3)
    path = write(tmp_path / "x.safetensors", named, kind_in_sd_cpp)  # the name says nothing
    vae = load(path)
    assert vae.config == kl_config
    for key, tensor in vae.state_dict().items():
        name = {"encoder.quant_conv": "quant_conv", "decoder.post_quant_conv": "post_quant_conv"}.get(
            key.rpartition(".")[0], key.rpartition(".")[0]
        )
        source = ldm_tensors[f"{name}.{key.rpartition('.')[2]}"]
        kind = kind_in_sd_cpp(name, source)
        expected = as_read(kind, source).reshape(tensor.shape)
        assert tensor.dtype == torch.float32  # the narrowest that holds float16, float32 and q8_0
        assert torch.equal(tensor, expected.float()), key
    facts = inspect(path)
    assert (facts.format, facts.layout, facts.prefix) == ("gguf", "ldm", prefix)
    assert facts.dtypes == ("float16", "float32", "q8_0")
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kl_vae.normalization = None
    difference = (Engine(vae).reconstruct(x) - Engine(kl_vae).reconstruct(x)).abs().max()
    assert 0 < difference < 0.05


def test_weights_in_the_shape_that_they_had_before_blocks(tmp_path: Path) -> None:
    """ComfyUI-GGUF stores convolutions as matrices, so that they can be quantized, and says what they were."""
    convolution = NUMBERS.reshape(8, 4, 8, 6)
    told = {"comfy__gguf__orig_shape__conv.weight": [8, 4, 8, 6]}
    path = write(tmp_path / "x.gguf", {"conv.weight": convolution.reshape(-1, 64)}, Kind.Q8_0, **told)
    assert read_all(path)["conv.weight"].shape == (8, 4, 8, 6)
    path = write(tmp_path / "y.gguf", {"conv.weight": NUMBERS}, Kind.F32, **{next(iter(told)): [2, 2]})
    with pytest.raises(BadCheckpoint):
        open_tensors(path)


# -------------------------------------------------------------------------------------------------- what is not read


def test_other_formats_are_refused_by_name_where_they_are_needed(
    tmp_path: Path, kl_vae: VAE, ldm_tensors: Tensors
) -> None:
    named = {f"vae.{name}": tensor for name, tensor in ldm_tensors.items()}
    named["model.diffusion_model.x.weight"] = torch.ones(4, 64)

    def transformer(name: str, _: Tensor) -> Kind:
        return Kind.Q4_0 if "diffusion" in name else Kind.F16

    def matrices(_: str, tensor: Tensor) -> Kind:
        return Kind.Q4_0 if tensor.dim() == 2 else Kind.F16

    path = write(tmp_path / "x.gguf", named, transformer)
    assert load(path).config == kl_vae.config
    spec = open_tensors(path).specs["model.diffusion_model.x.weight"]
    assert (spec.shape, spec.stored_as, spec.readable) == ((4, 64), "q4_0", False)
    with refuses(BadCheckpoint, "8", "Q4_0", "attn_1") as told:
        load(write(tmp_path / "y.gguf", named, matrices))
    assert "F16" in told.value.remedy


def test_whole_numbers_are_read_by_nobody(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "vae")
    writer.add_tensor("x", np.arange(6, dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_tensors(tmp_path / "x.gguf")
    with refuses(BadCheckpoint, "I32", "x"):
        file.read(["x"])


def test_the_other_byte_order(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", {"x": NUMBERS}, Kind.F32, endian=gguf.GGUFEndian.BIG)
    with refuses(BadCheckpoint, "gguf-convert-endian"):
        open_tensors(path)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.safetensors", {"x": NUMBERS}, Kind.F32)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with refuses(MissingPackage, "gguf", "pip install 'vaekit[gguf]'"):
        open_tensors(path)


def test_only_the_header_is_read_on_opening(tmp_path: Path) -> None:
    """The numbers of a sparse file of 4 GB are no burden; nor are those that nobody asks for."""
    path = write(tmp_path / "x.gguf", {"small": NUMBERS, "large": NUMBERS}, Kind.F32)
    header = path.read_bytes()[: -2 * NUMBERS.numel() * 4]
    at = header.index(b"large") + 5 + 4
    sides = (2**24).to_bytes(8, "little") + b"".join((side).to_bytes(8, "little") for side in (4, 4, 4))
    with open(path, "wb") as file:
        file.write(header[:at] + sides + header[at + 32 :])
        file.write(NUMBERS.numpy().tobytes())
        file.truncate(file.tell() + 2**32)
    opened = open_tensors(path)
    assert opened.specs["large"].shape == (4, 4, 4, 2**24)
    assert torch.equal(opened.read(["small"])["small"], NUMBERS)


def test_a_normalization_in_the_metadata_counts(tmp_path: Path, kl_vae: VAE, ldm_tensors: Tensors) -> None:
    told = {"vaekit.normalization": '{"shift": [0.5], "scale": [0.25], "patch": 1}'}
    vae = load(write(tmp_path / "x.gguf", ldm_tensors, Kind.F32, **told))
    assert vae.normalization == LatentNormalization((0.5,), (0.25,))


# ---------------------------------------------------------------------------------------- the header, piece by piece


def cursor(content: bytes, at: int = 0, steps: int = 100) -> Cursor:
    mapped = mmap.mmap(-1, len(content))
    mapped.write(content)
    return Cursor(mapped, at, steps)


def test_a_cursor_reads_little_endian_values_in_order_and_no_further() -> None:
    reader = cursor(struct.pack("<IQ", 7, 3) + b"abc" + b"rest")
    assert (reader.number("I"), reader.name(), reader.at) == (7, "abc", 15)
    assert reader.skip(4) == 15
    with pytest.raises(ValueError):
        reader.number("B")
    with refuses(ValueError, "3"):
        cursor(struct.pack("<Q", 3) + b"abc").name(longest=2)


def test_a_cursor_counts_its_work() -> None:
    reader = cursor(b"x", steps=2)
    reader.step(2)
    with pytest.raises(ValueError):
        reader.step()


def test_arrays_are_stepped_over_to_their_end() -> None:
    numbers = struct.pack("<IQ", 5, 3) + bytes(12)
    texts = struct.pack("<IQ", 8, 2) + struct.pack("<Q", 2) + b"ab" + struct.pack("<Q", 0)
    for content in (numbers, texts):
        reader = cursor(content + b"rest")
        skip_array(reader)
        assert reader.at == len(content)
    assert reader.steps == 98, "each text is a step"
    for kind in (9, 99):
        with pytest.raises(ValueError):
            skip_array(cursor(struct.pack("<IQ", kind, 0)))


def test_a_tensor_has_its_rows_last_and_whole_blocks() -> None:
    content = struct.pack("<Q", 1) + b"x" + struct.pack("<IQQIQ", 2, 64, 3, 8, 32)
    assert read_tensor(cursor(content)) == ("x", 8, (3, 64), 32)
    blocks = {8: (32, 34)}
    assert entry_of("x", 8, (3, 64), 100, 32, 32, blocks) == Entry(8, (3, 64), 132, 6 * 34)
    assert entry_of("x", 99, (3, 64), 100, 32, 32, blocks).nbytes == 0
    for shape, offset in (((3, 48), 32), ((3, 64), 33)):
        with refuses(ValueError, "x"):
            entry_of("x", 8, shape, 100, offset, 32, blocks)


def test_an_original_shape_has_as_many_elements() -> None:
    entry = Entry(8, (3, 64), 0, 204)
    assert reshaped(entry, None) is entry
    assert reshaped(entry, (4, 48)) == Entry(8, (4, 48), 0, 204)
    with pytest.raises(ValueError):
        reshaped(entry, (4, 49))


def test_metadata_keeps_short_texts_the_alignment_and_original_shapes() -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    content = text(b"name") + struct.pack("<I", 8) + text(b"VAE")
    content += text(b"general.alignment") + struct.pack("<II", 4, 64)
    content += text(b"comfy.gguf.orig_shape.x") + struct.pack("<IIQ", 9, 4, 2) + struct.pack("<II", 4, 48)
    content += text(b"flag") + struct.pack("<IB", 7, 1)
    assert read_metadata(cursor(content), 4) == ({"name": "VAE"}, 64, {"x": (4, 48)})
    for bad in (
        content + text(b"flag") + struct.pack("<IB", 7, 1),
        content + text(b"general.alignment") + struct.pack("<II", 4, 48),
        content + text(b"odd") + struct.pack("<IB", 13, 1),
    ):
        with pytest.raises(ValueError):
            read_metadata(cursor(bad), 5)


def test_formats_that_are_not_read_are_described() -> None:
    kinds = {0: "F32", 8: "Q8_0", 2: "Q4_0"}
    specs = [spec_of(Entry(kind, (4,), 0, 0), kinds) for kind in (0, 8, 2, 50)]
    assert [spec.stored_as for spec in specs] == ["float32", "q8_0", "q4_0", "type 50"]
    assert [spec.readable for spec in specs] == [True, True, False, False]
