"""A VAE into a whole checkpoint: it is all that changes."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from baking import FLUX_SIGN, SD1_SIGN, bits, changed, normalization_metadata
from ldm_names import ldm_names
from refusals import lacks, refuses
from safetensors.torch import load_file, save_file
from sharded_weights import write_shards
from slow_cases import nightly

from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.extract import extract
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import CannotWrite, HalfMissing, NotRunnable, UnknownVAE, WrongTensors
from vaekit.families.kl.net import KLConfig
from vaekit.formats.safetensors import raw_header
from vaekit.identification.identify import identify
from vaekit.vae import VAE

Make = Callable[..., Path]
Shapes = dict[str, tuple[int, ...]]


@pytest.mark.parametrize("layout", ["ldm", "diffusers", "native"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nothing_else_changes(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, layout: str, dtype: torch.dtype
) -> None:
    metadata = {"modelspec.title": "Ä test\n", "format": "pt", "a": "", "ss_tags": '{"x": 1}'}
    path = whole_checkpoint(kl_vae.to(dtype), prefix="first_stage_model.", layout=layout, metadata=metadata)
    new = changed(kl_vae).to(dtype)
    save(new, tmp_path / "new.safetensors", "diffusers")
    done = bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    before, after = bits(path), bits(tmp_path / "out.safetensors")
    assert before.keys() == after.keys()
    assert {key for key in before if before[key] != after[key]} == {
        key for key in before if key.startswith("first_stage_model.")
    }
    assert raw_header(path) == raw_header(tmp_path / "out.safetensors")
    assert path.stat().st_size == (tmp_path / "out.safetensors").stat().st_size == done.nbytes
    baked = load(tmp_path / "out.safetensors")
    for key, tensor in new.state_dict().items():
        assert torch.equal(baked.state_dict()[key], tensor)
    assert (done.replaced, done.added, done.removed, done.kept) == (len(new.state_dict()), 0, 0, 6)


WRAPPED = {
    "compiled": lambda name: name.replace("encoder.", "encoder._orig_mod."),
    "parallel": lambda name: name.replace("first_stage_model.", "first_stage_model.module."),
    "in front": lambda name: f"module.{name}",
    "state_dict in front": lambda name: f"state_dict.{name}",
}


@pytest.mark.parametrize("how", WRAPPED)
def test_names_of_training_wrappers_are_kept(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, how: str) -> None:
    plain = whole_checkpoint(kl_vae, metadata={"a": "1"})
    path = tmp_path / "wrapped.safetensors"
    save_file({WRAPPED[how](name): tensor for name, tensor in load_file(plain).items()}, path, {"a": "1"})
    new = changed(kl_vae)
    save(new, tmp_path / "new.safetensors", "diffusers")
    done = bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    before, after = bits(path), bits(tmp_path / "out.safetensors")
    assert before.keys() == after.keys()
    assert {key for key in before if before[key] != after[key]} == {key for key in before if "first_stage" in key}
    baked = load(tmp_path / "out.safetensors").state_dict()
    assert all(torch.equal(baked[key], tensor) for key, tensor in new.state_dict().items())
    assert (done.replaced, done.added, done.removed, done.kept) == (len(new.state_dict()), 0, 0, 6)
    bake(path, path, tmp_path / "same.safetensors")
    assert path.read_bytes() == (tmp_path / "same.safetensors").read_bytes()


def test_new_tensors_have_no_name_among_wrappers(
    kl_vae: VAE, kl_config: KLConfig, random_vae: Callable[..., VAE], whole_checkpoint: Make, tmp_path: Path
) -> None:
    plain, path = whole_checkpoint(kl_vae), tmp_path / "wrapped.safetensors"
    save_file({WRAPPED["compiled"](name): tensor for name, tensor in load_file(plain).items()}, path)
    larger = random_vae(dataclasses.replace(kl_config, encoder_blocks=2), kl_vae.normalization)
    save(larger, tmp_path / "new.safetensors")
    with refuses(WrongTensors, "wrappers", "encoder.down.0.block.1"):
        bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_there_and_back(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae, metadata={"b": "2", "a": "1"})
    extract(path, tmp_path / "vae.safetensors")
    bake(path, tmp_path / "vae.safetensors", tmp_path / "out.safetensors")
    assert path.read_bytes() == (tmp_path / "out.safetensors").read_bytes()
    bake(path, path, tmp_path / "out.safetensors")  # a checkpoint may be where the VAE comes from, too
    assert path.read_bytes() == (tmp_path / "out.safetensors").read_bytes()


def test_an_odd_order_and_header_survive(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    """Entries in another order than the tensors, metadata in the middle, blanks around it all."""
    path = whole_checkpoint(kl_vae, metadata={"k": "v"})
    told = json.loads(raw_header(path))
    # The empty tensor comes last, after the one that begins at the same byte.
    names = sorted((name for name in told if name != "__metadata__"), key=lambda name: (name == "zeta.empty", name))
    turned = {name: told[name] for name in [*names[:9], "__metadata__", *names[9:]]}
    text = json.dumps(turned, indent=1).encode() + b"   "
    data = path.read_bytes()[8 + len(raw_header(path)) :]
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    save(changed(kl_vae), tmp_path / "new.safetensors")
    bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert raw_header(tmp_path / "out.safetensors") == text


def test_the_dtype_is_that_of_the_checkpoints_own(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    save(changed(kl_vae), tmp_path / "new.safetensors")
    done = bake(whole_checkpoint(kl_vae.half()), tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert done.dtypes == ("float16",)
    assert any(not lacks(note, "float32", "float16") for note in done.notes)
    baked = load(tmp_path / "out.safetensors").state_dict()
    for key, tensor in load(tmp_path / "new.safetensors").state_dict().items():
        assert torch.equal(baked[key], tensor.half())


def test_numbers_too_large_for_the_dtype_are_refused(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae.half())
    large = kl_vae.float()
    with torch.no_grad():
        large.state_dict()["decoder.conv_in.weight"][0, 0, 0, :2] = 70000.0
    save(large, tmp_path / "new.safetensors")
    with refuses(WrongTensors, "decoder.conv_in.weight", "70000"):
        bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_eight_bits_are_no_dtype_for_a_new_vae(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae.to(torch.float8_e4m3fn))
    save(changed(kl_vae.to(torch.bfloat16)), tmp_path / "new.safetensors")
    done = bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert done.dtypes == ("bfloat16",)
    assert any("8-bit" in note for note in done.notes)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_a_vae_takes_the_place_of_that_half(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, half: str
) -> None:
    path = whole_checkpoint(kl_vae)
    new = changed(kl_vae)
    setattr(new, "encoder" if half == "decoder" else "decoder", None)
    save(new, tmp_path / "new.safetensors")
    done = bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    baked = load(tmp_path / "out.safetensors").state_dict()
    for key, tensor in kl_vae.state_dict().items():
        expected = new.state_dict()[key] if key.startswith(half) else tensor
        assert torch.equal(baked[key], expected)
    assert (done.halves, done.replaced) == ((half,), len(new.state_dict()))


def test_half_a_vae_must_fit_the_other_half(
    kl_vae: VAE, random_vae: Callable[..., VAE], whole_checkpoint: Make, tmp_path: Path
) -> None:
    other = random_vae(KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, False, False, 32), None)
    other.config  # noqa: B018 (a half without the 1x1 convolution)
    other.encoder = None
    save(other, tmp_path / "new.safetensors")
    path = whole_checkpoint(kl_vae)
    done = bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert done.removed == 2  # the convolution that the new decoder has not
    wider = random_vae(KLConfig(3, 4, 8, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32), None)
    wider.encoder = None
    save(wider, tmp_path / "new.safetensors")
    with pytest.raises(WrongTensors):
        bake(path, tmp_path / "new.safetensors", tmp_path / "other.safetensors")


def test_widths_may_differ_where_latents_do_not(
    flux2_vae: VAE, random_vae: Callable[..., VAE], whole_checkpoint: Make, tmp_path: Path
) -> None:
    """FLUX.2's small decoder: other widths, the same normalization."""
    config = KLConfig(3, 4, 4, (32, 64), (64, 64), 1, 2, (), (), True, True, True, 32)
    small = random_vae(config, flux2_vae.normalization)
    save(small, tmp_path / "new.safetensors")
    path = whole_checkpoint(flux2_vae, prefix="vae.", metadata={"k": "v"})
    bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    before, after = bits(path), bits(tmp_path / "out.safetensors")
    assert {key: before[key] for key in before if ".bn." in key or not key.startswith("vae.")} == {
        key: after[key] for key in after if ".bn." in key or not key.startswith("vae.")
    }
    baked = identify(tmp_path / "out.safetensors")
    assert (baked.config, baked.normalization) == (config, flux2_vae.normalization)
    assert baked.parts[0].file.metadata == {"k": "v"}


@pytest.mark.parametrize(
    ("sign", "prefix", "channels"),
    [(SD1_SIGN, "first_stage_model.", 4), pytest.param(FLUX_SIGN, "vae.", 16, marks=pytest.mark.nightly)],
)
def test_a_checkpoint_without_a_vae_gets_one_where_its_kind_has_it(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path, sign: Shapes, prefix: str, channels: int
) -> None:
    around = {**sign, "z.weight": (5,)}
    path = sparse_file("whole.safetensors", around)
    normalization = normalization_metadata(0.18215) if channels == 4 else normalization_metadata(0.3611, 0.1159)
    vae = sparse_file("vae.safetensors", sd_shapes(channels), normalization)
    done = bake(path, vae, tmp_path / "out.safetensors")
    assert (done.prefix, done.added, done.replaced) == (prefix, len(sd_shapes(channels)), 0)
    assert prefix in done.notes[0]
    found = identify(tmp_path / "out.safetensors")
    assert (found.parts[0].prefix, found.layout, found.host is not None) == (prefix, "ldm", True)
    half = sparse_file("half.safetensors", sd_shapes(channels, half="decoder"), normalization)
    with pytest.raises(HalfMissing):
        bake(path, half, tmp_path / "other.safetensors")


def test_a_vae_that_cannot_be_run_is_not_taken_for_absent(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], svd_shapes: Shapes, tmp_path: Path
) -> None:
    checkpoints = {
        "Stable Video Diffusion": svd_shapes,
        "Stable Cascade stage A": {**SD1_SIGN, "vae.vquantizer.codebook.weight": (8192, 4)},
        "VidTok": {**FLUX_SIGN, "vae.decoder.up_temporal.1.block.0.conv1.conv.weight": (512, 512, 3, 1, 1)},
    }
    vae, out = (
        sparse_file("vae.safetensors", sd_shapes(4), normalization_metadata(0.18215)),
        tmp_path / "out.safetensors",
    )
    for name, shapes in checkpoints.items():
        path = sparse_file("whole.safetensors", shapes)
        with pytest.raises(NotRunnable) as raised:
            bake(path, vae, out, assume_same_normalization=True)
        assert name in raised.value.found
        assert raised.value.expected
        with pytest.raises(NotRunnable):
            bake(sparse_file("sd1.safetensors", SD1_SIGN | sd_shapes(4, "vae.")), path, out)
    assert not out.exists()


@pytest.mark.parametrize(
    "remains",
    [
        {"first_stage_model.quant_conv.weight": (8, 8, 1, 1)},
        {"vae.down.0.weight": (8, 8), "vae.up.0.weight": (8, 8)},
        {"autoencoder.encoder.layers.0.weight": (8, 8), "autoencoder.decoder.layers.0.weight": (8, 8)},
        {"encoder.layers.0.weight": (8, 8), "decoder.layers.0.weight": (8, 8)},
    ],
)
def test_parts_of_an_unknown_vae_are_not_taken_for_absent(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path, remains: Shapes
) -> None:
    path = sparse_file("whole.safetensors", SD1_SIGN | remains)
    vae = sparse_file("vae.safetensors", sd_shapes(4), normalization_metadata(0.18215))
    with pytest.raises(UnknownVAE) as raised:
        bake(path, vae, tmp_path / "out.safetensors")
    assert all(name in raised.value.found for name in remains)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    "others",
    [
        {"first_stage_model.loss.perceptual_loss.lin0.model.1.weight": (1, 64, 1, 1)},
        {"cond_stage_model.encoder.block.0.weight": (8, 8), "cond_stage_model.decoder.block.0.weight": (8, 8)},
        *nightly(
            {"model.diffusion_model.encoder.0.weight": (8, 8), "model.diffusion_model.decoder.0.weight": (8, 8)},
            {"cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (8, 8)},
        ),
    ],
)
def test_encoders_of_other_things_are_no_vae(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path, others: Shapes
) -> None:
    path = sparse_file("whole.safetensors", SD1_SIGN | others)
    vae = sparse_file("vae.safetensors", sd_shapes(4), normalization_metadata(0.18215))
    assert bake(path, vae, tmp_path / "out.safetensors").added == len(sd_shapes(4))


def test_an_encoder_that_conditions_is_not_the_vae_of_the_checkpoint(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], svd_shapes: Shapes, tmp_path: Path
) -> None:
    shapes = {name: shape for name, shape in svd_shapes.items() if not name.startswith("first_stage_model.")}
    vae = sparse_file("vae.safetensors", sd_shapes(4), normalization_metadata(0.18215))
    with pytest.raises(UnknownVAE):
        bake(sparse_file("whole.safetensors", shapes), vae, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_new_tensors_stand_where_all_stay_aligned(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    """A decoder in fp32 gets an encoder: the new tensors go in front of narrower ones."""
    halved = copy.deepcopy(kl_vae)
    halved.encoder = None
    path = whole_checkpoint(halved)
    save(changed(kl_vae), tmp_path / "new.safetensors")
    bake(path, tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    told = json.loads(raw_header(tmp_path / "out.safetensors"))
    widths = {"I64": 8, "F32": 4, "F16": 2, "BF16": 2, "U8": 1}
    assert all(entry["data_offsets"][0] % widths[entry["dtype"]] == 0 for entry in told.values())
    assert identify(tmp_path / "out.safetensors").halves == ("encoder", "decoder")


@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
def test_a_sharded_checkpoint_becomes_one_file(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, ending: str
) -> None:
    path, new = whole_checkpoint(kl_vae), tmp_path / "new.safetensors"
    with torch.no_grad():
        for parameter in kl_vae.parameters():
            parameter.add_(1)
    save(kl_vae, new)
    bake(path, new, tmp_path / "expected.safetensors")
    index, shards = write_shards(tmp_path / "shards", load_file(path), "model", ending, count=3)
    result = bake(shards[0], new, tmp_path / "out.safetensors")
    expected, baked = (load_file(tmp_path / name) for name in ("expected.safetensors", "out.safetensors"))
    assert result.added == result.removed == 0
    assert baked.keys() == expected.keys()
    assert all(torch.equal(baked[name], tensor) for name, tensor in expected.items())
    if ending == ".safetensors":
        with pytest.raises(CannotWrite):
            bake(index, new, shards[1])


def test_a_torch_checkpoint_becomes_safetensors(kl_vae: VAE, tmp_path: Path) -> None:
    """Tied tensors are written once each, turned ones in order; what is no tensor is left out, and told."""
    tied = torch.randn(6, 4)
    around = {"a.weight": tied, "b.weight": tied, "c.part": tied[1:3], "d.turned": tied.T, "e.step": torch.tensor(5)}
    inside = {f"first_stage_model.{key}": tensor for key, tensor in ldm_names(kl_vae).items()}
    content = {"state_dict": around | inside | {"f.text": "no tensor"}, "epoch": 3, "callbacks": {"x": 1}}
    torch.save(content, tmp_path / "whole.ckpt")
    new = changed(kl_vae)
    save(new, tmp_path / "new.safetensors")
    done = bake(tmp_path / "whole.ckpt", tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    after = load_file(tmp_path / "out.safetensors")
    assert after.keys() == (around | inside).keys()
    for key, tensor in around.items():
        assert torch.equal(after[key], tensor)
    for key, tensor in ldm_names(new).items():
        assert torch.equal(after[f"first_stage_model.{key}"], tensor)
    assert any(not lacks(note, "epoch", "callbacks", "f.text") for note in done.notes)
