"""The VAE out of a whole checkpoint: the same bytes, bare names, and the normalization that the checkpoint tells."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors import safe_open
from safetensors.torch import load_file
from sharded_weights import write_shards

from vaekit.checkpoints.extract import extract
from vaekit.checkpoints.load import load
from vaekit.errors import BadCheckpoint, CannotWrite, HalfMissing, NotFound, UnknownVAE, WrongTensors
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

Make = Callable[..., Path]


def assert_same_bits(a: torch.Tensor, b: torch.Tensor) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def assert_same_weights(a: VAE, b: VAE) -> None:
    assert list(a.state_dict()) == list(b.state_dict())
    for key, tensor in a.state_dict().items():
        assert_same_bits(tensor, b.state_dict()[key])


@pytest.mark.parametrize("name", ["whole.safetensors", "whole.ckpt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_what_comes_out_is_what_was_in(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, layout: str, dtype: torch.dtype, name: str
) -> None:
    path = whole_checkpoint(kl_vae.to(dtype), name, "vae.", layout)
    done = extract(path, tmp_path / "out.safetensors")
    assert (done.layout, done.prefix, done.halves, done.model) == ("ldm", "vae.", ("encoder", "decoder"), None)
    assert_same_weights(kl_vae, load(tmp_path / "out.safetensors"))
    names = load_file(tmp_path / "out.safetensors")
    assert "first_stage_model" not in " ".join(names)
    assert names["post_quant_conv.weight"].shape == (4, 4, 1, 1)
    assert names["decoder.mid.attn_1.q.weight"].dim() == 4


def test_the_names_of_an_ldm_checkpoint_lose_their_prefix_only(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path
) -> None:
    path = whole_checkpoint(kl_vae)
    extract(path, tmp_path / "out.safetensors")
    whole, alone = load_file(path), load_file(tmp_path / "out.safetensors")
    inside = {key.removeprefix("first_stage_model."): whole[key] for key in whole if key.startswith("first_stage")}
    assert inside.keys() == alone.keys()
    for key, tensor in inside.items():
        assert_same_bits(tensor, alone[key])


def test_the_normalization_of_the_checkpoint_goes_with_it(
    sparse_file: Make, sd_shapes: Callable[..., dict[str, tuple[int, ...]]], tmp_path: Path
) -> None:
    sign = {"conditioner.embedders.1.model.ln_final.weight": (1280,)}
    path = sparse_file("xl.safetensors", sign | sd_shapes(4, "first_stage_model."))
    done = extract(path, tmp_path / "out.safetensors")
    assert (done.model, done.normalization, done.tensors) == ("SDXL", LatentNormalization((0.0,), (0.13025,)), 248)
    assert "SDXL" in done.normalization_source
    alone = identify(tmp_path / "out.safetensors")
    assert ([space.name for space in alone.latent_spaces], alone.normalization) == (["SDXL"], done.normalization)


def test_a_normalization_that_nobody_knows_stays_unknown(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    done = extract(whole_checkpoint(kl_vae), tmp_path / "out.safetensors")
    assert done.normalization is None
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata()["vaekit.normalization"] == "null"


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_any_layout(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, layout: str) -> None:
    path = whole_checkpoint(kl_vae)
    places = ["out.safetensors", *(["folder"] if layout == "diffusers" else [])]
    for place in places:
        extract(path, tmp_path / place, layout)
        assert_same_weights(kl_vae, load(tmp_path / place))
        assert identify(tmp_path / place).layout == layout


def test_other_families(vq_vae: VAE, flux2_vae: VAE, tiny_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    for i, (vae, layout) in enumerate([(vq_vae, "ldm"), (flux2_vae, "diffusers"), (tiny_vae, "native")]):
        path = whole_checkpoint(vae, prefix="vae.", layout=layout, around={"model.x": torch.zeros(3)})
        done = extract(path, tmp_path / f"{i}.safetensors")
        assert done.layout == ("native" if vae is tiny_vae else "ldm")
        assert_same_weights(vae, load(tmp_path / f"{i}.safetensors"))
    whole, alone = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "1.safetensors")
    assert load(tmp_path / "1.safetensors").normalization == flux2_vae.normalization
    assert "bn.running_var" in alone
    assert "vae.encoder.0.weight" in whole


def test_half_a_vae(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    kl_vae.encoder = None
    path = whole_checkpoint(kl_vae)
    assert extract(path, tmp_path / "out.safetensors").halves == ("decoder",)
    with pytest.raises(HalfMissing):
        extract(path, tmp_path / "folder", "diffusers")


def test_the_same_bytes_every_time(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae)
    for name in ("a.safetensors", "b.safetensors"):
        extract(path, tmp_path / name)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_progress_is_told_in_bytes(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    extract(whole_checkpoint(kl_vae), tmp_path / "out.safetensors", progress=lambda *now: told.append(now))
    size = (tmp_path / "out.safetensors").stat().st_size
    assert told == sorted(told)
    assert told[-1] == (size, size)


def test_what_is_refused(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae)
    bare = whole_checkpoint(None, "bare.safetensors")
    with refuses(UnknownVAE, "UNet", "Stable Diffusion"):
        extract(bare, tmp_path / "out.safetensors")
    with pytest.raises(NotFound):
        extract(tmp_path / "none.safetensors", tmp_path / "out.safetensors")
    with refuses(CannotWrite, "vaekit convert"):
        extract(path, tmp_path / "out.pt")
    with refuses(CannotWrite, "out.safetensors"):
        extract(path, tmp_path / "out.onnx")
    with pytest.raises(CannotWrite):
        extract(path, path)
    with refuses(WrongTensors, "tiny"):
        extract(path, tmp_path / "folder", "tiny")
    (tmp_path / "link.safetensors").hardlink_to(path)
    with pytest.raises(CannotWrite):
        extract(path, tmp_path / "link.safetensors")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BadCheckpoint):
        extract(tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_of_a_sharded_checkpoint_whatever_names_it(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae)
    extract(path, tmp_path / "expected.safetensors")
    index, shards = write_shards(tmp_path / "shards", load_file(path), "model", count=3)
    for source in (index, shards[1], index.parent):
        extract(source, tmp_path / "out.safetensors")
        assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "expected.safetensors").read_bytes()
    for shard in shards:
        with pytest.raises(CannotWrite):
            extract(index, shard)
    shards[2].unlink()
    with refuses(BadCheckpoint, shards[2].name):
        extract(shards[0], tmp_path / "out.safetensors")


def test_a_full_disk_is_noticed_before(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = whole_checkpoint(kl_vae)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with refuses(CannotWrite, "1,000 bytes free"):
        extract(path, tmp_path / "out.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["whole.safetensors"]
