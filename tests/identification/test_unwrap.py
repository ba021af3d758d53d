"""The names of training wrappers, wherever they are in the path of a tensor."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from ldm_names import ldm_names
from refusals import refuses
from safetensors.torch import save_file
from shapes_of_configs import in_layout, layouts_for, native_shapes
from torch import Tensor

import vaekit
from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.save import save
from vaekit.errors import WrongTensors
from vaekit.families import FAMILIES
from vaekit.formats.open import open_weights
from vaekit.formats.tensor_file import TensorFile, TensorSpec
from vaekit.formats.wrapper_names import WRAPPERS
from vaekit.identification.locate import locate
from vaekit.identification.unwrap import flattened, unwrap
from vaekit.vae import VAE

INSIDE: dict[str, Callable[[str], str]] = {
    "each half": lambda name: re.sub(r"^(encoder|decoder)\.", r"\1.{w}.", name),
    "the encoder only": lambda name: re.sub(r"^encoder\.", r"encoder.{w}.", name),
    "some layers": lambda name: re.sub(r"\.(mid|conv_in|norm\d)\.", r".\1.{w}.", name),
    "every level": lambda name: "{w}." + name.replace(".", ".{w}.", 2) if name.count(".") > 1 else "{w}." + name,
}


def wrapped(vae: VAE, where: str, wrapper: str) -> dict[str, Tensor]:
    return {INSIDE[where](name).replace("{w}", wrapper): tensor for name, tensor in ldm_names(vae).items()}


@pytest.mark.parametrize(
    ("where", "wrapper"), [*(("each half", name) for name in sorted(WRAPPERS)), *((name, "module") for name in INSIDE)]
)
def test_they_are_removed_wherever_they_are(tmp_path: Path, kl_vae: VAE, where: str, wrapper: str) -> None:
    save_file(wrapped(kl_vae, where, wrapper), tmp_path / "x.safetensors")
    loaded = vaekit.load(tmp_path / "x.safetensors", padding="zeros", latent_space=None)
    expected = kl_vae.state_dict()
    assert loaded.encoder is not None and loaded.decoder is not None
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_no_family_loses_a_name(family: str) -> None:
    """Of the names of every layout, wrappers are no part."""
    for layout in layouts_for(EXAMPLES[family]):
        names = in_layout(layout, native_shapes(EXAMPLES[family]))
        specs = {name: TensorSpec(tuple(shape), torch.float32) for name, shape in names.items()}
        assert unwrap(TensorFile(Path("x"), "safetensors", {}, specs, lambda _: {})) is None


def test_a_file_without_wrappers_is_left_alone_and_a_front_wrapper_stays_a_prefix(kl_vae: VAE, tmp_path: Path) -> None:
    names = {f"module.{name}": tensor for name, tensor in ldm_names(kl_vae).items()}
    save_file(names, tmp_path / "x.safetensors")
    assert vaekit.inspect(tmp_path / "x.safetensors", hash=False, measure=False).prefix == "module."


def test_two_names_that_become_one_are_refused(tmp_path: Path, kl_vae: VAE) -> None:
    tensors = wrapped(kl_vae, "each half", "module") | {"encoder.conv_in.bias": torch.zeros(32)}
    save_file(tensors, tmp_path / "x.safetensors")
    with refuses(WrongTensors, "encoder.conv_in.bias", "encoder.module.conv_in.bias"):
        vaekit.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("where", ["each half", "in front"])
def test_two_sets_of_such_names_are_refused(tmp_path: Path, kl_vae: VAE, where: str) -> None:
    plain = ldm_names(kl_vae)
    if where == "in front":
        twice = {f"module.{name}": tensor + 1 for name, tensor in plain.items()}
    else:
        twice = {name: tensor + 1 for name, tensor in wrapped(kl_vae, where, "_orig_mod").items()}
    save_file(twice | plain, tmp_path / "x.safetensors")
    with refuses(WrongTensors, "decoder.conv_in.bias"):
        vaekit.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("beside", [True, False])
def test_flattened_parameters_are_refused_by_name(tmp_path: Path, kl_vae: VAE, beside: bool) -> None:
    decoder = {name: tensor for name, tensor in ldm_names(kl_vae).items() if name.startswith("decoder")}
    flat = {"encoder._fsdp_wrapped_module._flat_param": torch.zeros(99), "_flat_param": torch.zeros(9)}
    save_file(flat | (decoder if beside else {}), tmp_path / "x.safetensors")
    with refuses(WrongTensors, "FSDP", "FULL_STATE_DICT"):
        vaekit.load(tmp_path / "x.safetensors")
    assert flattened(TensorFile(Path("x"), "safetensors", {}, {}, lambda _: {})) is None


def test_a_checkpoint_with_such_names_keeps_them_when_it_is_baked_into(tmp_path: Path, kl_vae: VAE) -> None:
    tensors = {f"first_stage_model.{name}": tensor for name, tensor in wrapped(kl_vae, "each half", "module").items()}
    save_file(tensors | {"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "whole.safetensors")
    save(kl_vae, tmp_path / "new.safetensors")
    bake(tmp_path / "whole.safetensors", tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_data_are_read_under_the_new_names(kl_vae: VAE, tmp_path: Path) -> None:
    save_file(wrapped(kl_vae, "some layers", "_orig_mod"), tmp_path / "x.safetensors")
    located = locate(open_weights(tmp_path / "x.safetensors"))
    name = "encoder.conv_in.weight"
    span = located.file.span(name)
    assert span is not None and span.length == located.file.read([name])[name].nbytes
