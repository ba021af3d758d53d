"""The network of an identified VAE, with the tensors of its file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.save import save
from vaekit.errors import HalfMissing, WrongTensors
from vaekit.families import Config
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.identification import build as build_module
from vaekit.identification.build import Network, assembled, build, origin, read_native
from vaekit.identification.identify import Identified, identify
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.priors import FlowPart, MixturePart
from vaekit.nets.sequence import SequenceConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@pytest.fixture
def identified(kl_vae: VAE, tmp_path: Path) -> Identified:
    save(kl_vae, tmp_path / "x.safetensors", "diffusers")
    return identify(tmp_path / "x.safetensors")


def assert_same(ours: VAE, theirs: VAE) -> None:
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], tensor), key


def test_the_network_has_the_tensors_of_the_file(identified: Identified, kl_vae: VAE) -> None:
    vae = build(identified)
    assert_same(vae, kl_vae)
    assert not vae.training
    assert (vae.config, vae.normalization) == (kl_vae.config, kl_vae.normalization)


def test_tensors_are_read_by_native_keys_in_the_shapes_of_the_file(identified: Identified, kl_vae: VAE) -> None:
    """diffusers stores the 1x1 convolutions of attention as matrices."""
    tensors = read_native(identified)
    assert tensors.keys() == kl_vae.state_dict().keys()
    assert tensors["encoder.mid.attn_1.q.weight"].shape == (64, 64)
    vae = assembled(identified, tensors)
    assert vae.state_dict()["encoder.mid.attn_1.q.weight"].shape == (64, 64, 1, 1)


def test_tensors_are_assigned_and_not_copied(identified: Identified) -> None:
    tensors = read_native(identified)
    vae = assembled(identified, tensors)
    assert all(tensor.data_ptr() == tensors[key].data_ptr() for key, tensor in vae.state_dict().items())


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_network_is_never_built_in_part(identified: Identified, change: str) -> None:
    tensors = read_native(identified)
    if change == "missing":
        del tensors["encoder.conv_in.bias"]
    else:
        tensors["encoder.x"] = torch.ones(1)
    with pytest.raises((RuntimeError, KeyError)):
        assembled(identified, tensors)


def test_a_network_is_built_once_for_one_config(identified: Identified, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Identified] = []
    real = build_module.build
    monkeypatch.setattr(build_module, "build", lambda each: built.append(each) or real(each))  # type: ignore[func-returns-value]
    network = Network()
    first = network.of(identified)
    other = replace(identified, normalization=LatentNormalization((0.0,), (2.0,)))
    assert network.of(other) is first
    assert first.normalization == other.normalization
    reflecting = network.of(replace(identified, config=replace(identified.config, padding="reflect")))
    assert reflecting is not first and reflecting.config.padding == "reflect"
    weight = "encoder.conv_in.weight"
    assert reflecting.state_dict()[weight].data_ptr() == first.state_dict()[weight].data_ptr()
    assert len(built) == 1


def test_the_origin_names_kinds_and_family(identified: Identified) -> None:
    assert origin(identified).name == "of the 'kl' family"
    assert origin(replace(identified, latent_spaces=())).domain == ""


def test_the_origin_has_the_domain_of_the_file(tiny_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save(tiny_vae, path)
    metadata: dict[str, Any] = {"vaekit.domain": "tables", "vaekit.schema": json.dumps({"columns": ["a"]})}
    save_file(load_file(path), path, metadata)
    vae = build(identify(path))
    assert isinstance(vae.config, TinyConfig) and vae.origin is not None
    assert (vae.origin.domain, vae.origin.schema) == ("tables", {"columns": ["a"]})


@pytest.mark.parametrize(
    "config",
    [
        PartsConfig(MLPConfig((5,), 2, (8,)), GaussianPart(), ColumnsPart(("normal:3", "bernoulli:2")), MixturePart()),
        PartsConfig(SequenceConfig(5, 6, 2, 8, 4), GaussianPart(), TokensPart(), FlowPart()),
    ],
    ids=["rows", "sentences"],
)
def test_an_encoder_alone_needs_no_head_of_the_decoder(
    config: PartsConfig, random_vae: Callable[[Config, LatentNormalization | None], VAE], tmp_path: Path
) -> None:
    whole = random_vae(config, None)
    save(whole, tmp_path / "whole.safetensors")
    with safe_open(tmp_path / "whole.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert any(name.startswith("to_likelihood.") for name in tensors)
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
    save_file(encoder, tmp_path / "encoder.safetensors", metadata)
    vae = build(identify(tmp_path / "encoder.safetensors"))
    x = torch.randint(3, (2, 6)) if isinstance(config.net, SequenceConfig) else torch.randn(2, 5)
    assert torch.equal(vae.encode(x).mode, whole.encode(x).mode)
    assert vae.prior is None
    with pytest.raises(HalfMissing):
        vae.decode(torch.zeros(1, 2))
    save(vae, tmp_path / "again.safetensors")
    assert load_file(tmp_path / "again.safetensors").keys() == encoder.keys()
    save_file(encoder | {"to_likelihood.x": torch.ones(1)}, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(WrongTensors):
        identify(tmp_path / "odd.safetensors")
