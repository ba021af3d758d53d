"""A config.json with impossible numbers is refused; where it contradicts the weights, every verb mentions it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from family_examples import EXAMPLES, daily
from refusals import refuses

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint
from vaekit.families import Config, family_of, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.families.wan.net import WanConfig
from vaekit.identification.config_json import contradictions, described, differs, is_count, is_factor, shown
from vaekit.identification.identify import identify
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


def written(vae: VAE, folder: Path, **settings: object) -> Path:
    """A diffusers folder whose config.json has other entries."""
    save(vae, folder, "diffusers")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"scaling_factor": -0.5}, ["scaling_factor", "-0.5"]),
        ({"scaling_factor": 0}, ["scaling_factor"]),
        ({"scaling_factor": 1e300}, ["scaling_factor", "1e+300"]),
        ({"scaling_factor": float("nan")}, ["scaling_factor", "NaN"]),
        ({"scaling_factor": "0.18215"}, ["scaling_factor", '"0.18215"']),
        ({"scaling_factor": 10**400}, ["scaling_factor"]),
        ({"scaling_factor": True}, ["scaling_factor", "true"]),
        ({"shift_factor": float("inf")}, ["shift_factor", "Infinity"]),
        ({"shift_factor": [0.1]}, ["shift_factor"]),
        ({"latents_mean": [0] * 7, "latents_std": [1] * 7}, ["latents_mean", "latents_std", 7, 4]),
        ({"latents_mean": [0] * 4, "latents_std": [1, 1, 1, 0]}, ["latents_std"]),
        ({"latents_mean": [0] * 4, "latents_std": [1, 1, 1, -2]}, ["latents_std", -2]),
        ({"latents_mean": [0, 0, 0, None], "latents_std": [1] * 4}, ["latents_mean", "null"]),
        ({"latents_mean": [0] * 4}, ["latents_mean", "latents_std"]),
        ({"norm_num_groups": -4}, ["norm_num_groups", -4]),
        ({"norm_num_groups": "8"}, ["norm_num_groups", '"8"']),
        ({"block_out_channels": [32, 0]}, ["block_out_channels", "[32, 0]"]),
        ({"block_out_channels": "wide"}, ["block_out_channels"]),
        ({"latent_channels": 4.5}, ["latent_channels", 4.5]),
        ({"padding_mode": "circular"}, ["padding_mode", "zeros", "reflect"]),
        ({"padding_mode": 3}, ["padding_mode"]),
    ],
)
def test_impossible_entries_are_refused(kl_vae: VAE, tmp_path: Path, settings: Any, facts: list[object]) -> None:
    folder = written(kl_vae, tmp_path / "vae", **settings)
    with refuses(BadCheckpoint, "config.json", *facts):
        identify(folder)
    identify(folder / "diffusion_pytorch_model.safetensors")  # what the message advises


def test_all_impossible_entries_are_named(kl_vae: VAE, tmp_path: Path) -> None:
    with refuses(BadCheckpoint, "scaling_factor", "norm_num_groups", "shift_factor"):
        identify(written(kl_vae, tmp_path / "vae", scaling_factor=0, norm_num_groups=0, shift_factor="x"))


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"block_out_channels": [64, 128]}, ["block_out_channels", "[64, 128]", "[32, 64]"]),
        ({"block_out_channels": [32, 64, 64]}, ["block_out_channels"]),
        ({"latent_channels": 16}, ["latent_channels", 16, 4]),
        ({"mid_block_add_attention": False, "layers_per_block": 3}, ["mid_block_add_attention", "layers_per_block"]),
    ],
)
def test_entries_that_the_weights_contradict_are_mentioned(
    kl_vae: VAE, tmp_path: Path, settings: Any, facts: list[str]
) -> None:
    folder = written(kl_vae, tmp_path / "vae", **settings)
    identified = identify(folder)
    assert identified.normalization == kl_vae.normalization
    assert all(str(fact) in identified.contradictions for fact in facts)
    assert f"{identified.contradictions}." in inspect(folder, hash=False, measure=False).problems
    vae = vaekit.load(folder)
    assert vae.origin is not None and identified.contradictions in vae.origin.note


@pytest.mark.parametrize("name", daily(EXAMPLES))
def test_a_config_json_of_the_weights_has_no_contradictions(
    name: str, random_vae: Callable[[Config, LatentNormalization | None], VAE], tmp_path: Path
) -> None:
    vae, family = random_vae(EXAMPLES[name], None), family_of(name)
    if described(family, vae.config, None):
        save(vae, tmp_path / name, "diffusers")
        assert identify(tmp_path / name).contradictions == ""


KL = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32)
WAN = WanConfig(3, 4, (8, 16), (16, 8), 1, 2, (0,), True)


@pytest.mark.parametrize(("config", "entry"), [(KL, "block_out_channels"), (WAN, "dim_mult")])
def test_any_family_of_diffusers_is_compared(config: Config, entry: str) -> None:
    family = family_with(config)
    assert family is not None
    own = family.diffusers(config, None)
    assert contradictions(family, config, None, own) == ""
    assert contradictions(family, config, None, {}) == ""
    phrase = contradictions(family, config, None, own | {entry: [1, 7]})
    assert entry in phrase and "[1, 7]" in phrase


def test_normalizations_in_metadata_and_config_json() -> None:
    family, own = family_with(KL), LatentNormalization((0.0,), (0.5,))
    assert family is not None
    assert contradictions(family, KL, own, {"scaling_factor": 0.5}) == ""
    assert "scale 0.25" in contradictions(family, KL, own, {"scaling_factor": 0.25})


def test_values() -> None:
    assert not differs([1, 2], (1, 2)) and differs([1, 2], [1]) and differs([1, 2], 1)
    assert not differs(["DownEncoderBlock2D"], ["Down"]) and not differs("silu", ["silu", "silu"])
    assert differs("x", 3) and differs(5, ["silu"]) and not differs([[5], []], [[], []])
    assert is_count(3) and is_count([3, 1]) and not is_count(True) and not is_count([]) and not is_count(3.0)
    assert is_factor(0.1) and is_factor(3) and not is_factor(1e-40) and not is_factor(None)
    assert len(shown([7] * 1000)) < 100 and shown(10**5000)
