"""Between layouts, formats and dtypes: the same weights, whole or not at all."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from slow_cases import nightly
from torch import Tensor

from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import CannotWrite, WrongTensors
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

ENDINGS = ["safetensors", "sft", "pt", "pth", "ckpt", "bin"]


def assert_same(a: VAE, b: VAE) -> None:
    assert list(a.state_dict()) == list(b.state_dict())
    for key, tensor in a.state_dict().items():
        assert tensor.dtype == b.state_dict()[key].dtype
        assert torch.equal(tensor, b.state_dict()[key])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", ["native", "diffusers", *nightly("ldm")])
def test_any_layout_in_any_format(kl_vae: VAE, tmp_path: Path, layout: str, ending: str) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    convert(tmp_path / "x.safetensors", tmp_path / f"y.{ending}", layout)
    seen = identify(tmp_path / f"y.{ending}")
    assert_same(kl_vae, load(tmp_path / f"y.{ending}"))
    assert seen.layout == layout
    assert seen.normalization == (kl_vae.normalization if ending != "bin" else None)  # a .bin has tensors only
    convert(tmp_path / f"y.{ending}", tmp_path / "z.safetensors", "native")
    assert_same(kl_vae, load(tmp_path / "z.safetensors"))


def test_torch_files_are_what_other_programs_read(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    for ending in ("vae.pt", "ckpt", "bin"):
        convert(tmp_path / "x.safetensors", tmp_path / f"y.{ending}", "ldm")
        content = torch.load(tmp_path / f"y.{ending}", weights_only=True)
        weights = content if ending == "bin" else content["state_dict"]
        assert all(isinstance(tensor, Tensor) for tensor in weights.values())
        assert weights["decoder.mid.attn_1.q.weight"].dim() == 4
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in weights.values())


@pytest.mark.parametrize(
    ("dtype", "torch_dtype"),
    [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32), ("float64", torch.float64)],
)
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_any_dtype(kl_vae: VAE, tmp_path: Path, dtype: str, torch_dtype: torch.dtype, ending: str) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    convert(tmp_path / "x.safetensors", tmp_path / f"y.{ending}", "ldm", dtype)
    assert_same(kl_vae.to(torch_dtype), load(tmp_path / f"y.{ending}"))


def test_statistics_keep_their_digits(flux2_vae: VAE, tmp_path: Path) -> None:
    save(flux2_vae, tmp_path / "x.safetensors")
    convert(tmp_path / "x.safetensors", tmp_path / "folder", "diffusers", "bf16")
    tensors = load_file(tmp_path / "folder" / "diffusion_pytorch_model.safetensors")
    assert tensors["bn.running_var"].dtype == torch.float32
    assert tensors["decoder.conv_in.weight"].dtype == torch.bfloat16
    assert torch.equal(tensors["bn.running_mean"], load_file(tmp_path / "x.safetensors")["bn.running_mean"])


@pytest.mark.parametrize("dtype", ["fp8", "float8_e4m3fn", "q8_0"])
def test_eight_bits_are_refused_with_the_reason(kl_vae: VAE, tmp_path: Path, dtype: str) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    with refuses(WrongTensors, dtype):
        convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors", "ldm", dtype)
    with refuses(WrongTensors, "int3"):
        convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors", "ldm", "int3")
    assert not (tmp_path / "y.safetensors").exists()


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_an_overflow_is_refused_and_nothing_is_left(kl_vae: VAE, tmp_path: Path, ending: str) -> None:
    with torch.no_grad():
        kl_vae.state_dict()["decoder.conv_in.bias"][3] = -1e6
    save(kl_vae, tmp_path / "x.safetensors")
    with refuses(WrongTensors, "conv_in.bias", "1e+06", "float16", "65504"):
        convert(tmp_path / "x.safetensors", tmp_path / f"y.{ending}", "ldm", "fp16")
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    convert(tmp_path / "x.safetensors", tmp_path / f"y.{ending}", "ldm", "bf16")


@pytest.mark.parametrize("ending", ["safetensors", "pt", "bin"])
def test_the_same_bytes_every_time(kl_vae: VAE, tmp_path: Path, ending: str) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    for name in ("a", "b"):
        convert(tmp_path / "x.safetensors", tmp_path / f"{name}.{ending}", "ldm", "fp16")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_without_a_layout_it_stays(kl_vae: VAE, tiny_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors", "diffusers")
    convert(tmp_path / "x.safetensors", tmp_path / "y.pt")
    assert identify(tmp_path / "y.pt").layout == "diffusers"
    save(tiny_vae, tmp_path / "taesd", "tiny")
    convert(tmp_path / "taesd", tmp_path / "half")
    assert identify(tmp_path / "half").layout == "tiny"


def test_a_checkpoint_is_converted_with_the_normalization_that_it_tells(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]], tmp_path: Path
) -> None:
    sign = {"conditioner.embedders.1.model.ln_final.weight": (1280,)}
    path = sparse_file("xl.safetensors", sign | sd_shapes(4, "first_stage_model."))
    convert(path, tmp_path / "folder", "diffusers")
    assert identify(tmp_path / "folder").normalization == LatentNormalization((0.0,), (0.13025,))


def test_an_input_is_never_overwritten(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    with pytest.raises(CannotWrite):
        convert(tmp_path / "x.safetensors", tmp_path / "x.safetensors", "ldm", "fp16")
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_tiny_halves_are_named_as_comfyui_finds_them(tiny_vae: VAE, tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "x.safetensors")
    convert(tmp_path / "x.safetensors", tmp_path / "taesdxl", "tiny")
    files = sorted(path.name for path in (tmp_path / "taesdxl").iterdir())
    assert files == ["taesdxl_decoder.safetensors", "taesdxl_encoder.safetensors"]
    assert_same(tiny_vae, load(tmp_path / "taesdxl"))


def test_a_tiny_one_that_comfyui_saved_is_read(tiny_vae: VAE, tmp_path: Path) -> None:
    tensors = {f"taesd_{key}": tensor for key, tensor in tiny_vae.state_dict().items()}
    save_file(
        tensors | {"vae_scale": torch.tensor(0.18215), "vae_shift": torch.tensor(0.0)}, tmp_path / "x.safetensors"
    )
    assert_same(tiny_vae, load(tmp_path / "x.safetensors"))
    assert identify(tmp_path / "x.safetensors").layout == "comfy"
    convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert_same(tiny_vae, load(tmp_path / "y.safetensors"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_stays_small(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]], tmp_path: Path
) -> None:
    """167 MB of weights into 335 MB; beyond what Python and torch take, a few megabytes are used."""
    path = sparse_file("x.safetensors", sd_shapes(4))
    code = (
        "from pathlib import Path; from vaekit.checkpoints.convert import convert\n"
        "def peak(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        f"convert('builtin', {str(tmp_path / 'a.safetensors')!r}, 'diffusers', 'fp32')\n"
        "before = peak()\n"
        f"convert({str(path)!r}, {str(tmp_path / 'y.safetensors')!r}, 'diffusers', 'fp32')\n"
        "import sys; sys.stdout.write(str(peak() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60_000, "kilobytes"
    assert (tmp_path / "y.safetensors").stat().st_size > 334_000_000
