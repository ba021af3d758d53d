import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES
from refusals import lacks

import vaekit
from vaekit import Engine, Plan
from vaekit.catalog.entries import entry_named
from vaekit.doctor.observe import Observation, observe
from vaekit.doctor.precision import check_range, check_rounding
from vaekit.families import assemble, family_of
from vaekit.vae import VAE


def test_a_safe_vae_has_headroom_in_both_halves(observed: Observation) -> None:
    finding = check_range(observed, entry_named("builtin"))
    assert finding.status == "ok"
    assert finding.message.startswith("encoder fp16-safe, headroom ")
    for half in ("encoder", "decoder"):
        numbers = finding.values[half]
        assert numbers["fp16_headroom"] == pytest.approx(65504 / numbers["largest"])
        assert max(numbers["layers"].values()) == numbers["largest"] == numbers["layers"][numbers["largest_at"]]
        assert numbers["bf16_headroom"] > 1e30


def test_the_layer_that_overflows_is_named(spoilt: Callable[..., Observation]) -> None:
    def loud(vae: VAE) -> None:
        """The norm behind it brings it back: the image stays the same, as with SDXL's decoder."""
        for name in ("weight", "bias"):
            vae.get_parameter(f"decoder.up.1.block.0.conv1.{name}").mul_(30_000)

    observation = spoilt(loud)
    finding = check_range(observation)
    assert finding.status == "wrong"
    assert finding.values["decoder"]["overflows"][0] == "decoder.up.1.block.0.conv1"
    assert "decoder.up.1.block.0.conv1" in finding.message
    assert finding.values["encoder"]["overflows"] == []
    assert "bf16" in finding.remedy
    rounding = check_rounding(observation)
    assert rounding.status == "wrong"
    assert rounding.values["fp16"]["not_finite"] > 0
    assert rounding.values["bf16"]["mean"] < 2
    assert not lacks(rounding.remedy, "fp32", "bf16", "--dtype")


def test_a_sum_that_overflows_is_named_by_its_block(spoilt: Callable[..., Observation]) -> None:
    def loud(vae: VAE) -> None:
        conv = vae.get_submodule("decoder.mid.block_2.conv2")
        conv.bias.fill_(40_000.0)
        vae.get_submodule("decoder.mid.block_1.conv2").bias.fill_(40_000.0)

    finding = check_range(spoilt(loud))
    assert finding.values["decoder"]["overflows"][0] == "decoder.mid.block_2 (add)"


def test_the_layer_comes_before_the_activation_behind_it() -> None:
    """One module calls ReLU behind many layers: it is not to be named for what a layer did."""
    torch.manual_seed(0)
    vae = assemble(family_of("burgess"), EXAMPLES["burgess"]).eval()
    with torch.no_grad():
        vae.get_parameter("decoder.convT1.bias").fill_(60_000)
        vae.get_parameter("decoder.convT2.weight").fill_(1)
    reach = check_range(observe(vae)).values["decoder"]
    assert reach["overflows"][:2] == ["decoder.convT2", "decoder (relu)"]


def test_weights_that_fp16_cannot_hold_are_named(spoilt: Callable[..., Observation]) -> None:
    def heavy(vae: VAE) -> None:
        vae.get_parameter("decoder.up.1.block.0.conv1.weight")[0, 0, 0, 0] = 70_000

    assert "decoder.up.1.block.0.conv1.weight" in check_range(spoilt(heavy)).values["decoder"]["overflows"]


def test_little_headroom_and_a_card_that_knows_better_are_warnings(
    observed: Observation, spoilt: Callable[..., Observation]
) -> None:
    peak = check_range(observed).values["decoder"]["layers"]["decoder.up.1.block.0.conv1"]

    def near(vae: VAE) -> None:
        for name in ("weight", "bias"):
            vae.get_parameter(f"decoder.up.1.block.0.conv1.{name}").mul_(65_504 / 2 / peak)

    finding = check_range(spoilt(near))
    assert finding.status == "warning"
    assert "2.0x" in finding.message
    entry = entry_named("builtin")
    assert entry is not None
    doubted = check_range(observed, dataclasses.replace(entry, fp16="unsafe"))
    assert doubted.status == "warning"


@pytest.mark.nightly
def test_rounding_agrees_with_engines_in_half_precision(observed: Observation) -> None:
    finding = check_rounding(observed)
    assert finding.status == "ok"
    assert observed.images is not None and observed.decoded is not None
    for dtype in ("fp16", "bf16"):
        made = Engine(observed.vae, Plan(device="cpu", dtype=dtype)).reconstruct(observed.images[:2])
        real = (made.clamp(-1, 1) - observed.decoded[:2].clamp(-1, 1)).abs().mean().item() * 127.5
        assert finding.values[dtype]["mean"] == pytest.approx(real, rel=0.3)
    assert finding.values["fp16"]["mean"] < finding.values["bf16"]["mean"]


def test_an_encoder_alone_is_judged_by_its_latents(healthy: VAE) -> None:
    alone = VAE(healthy.encoder, healthy.to_posterior, None, healthy.to_likelihood, healthy.normalization)
    finding = check_rounding(observe(alone, side=64))
    assert finding.values["unit"] == "% of the latents' standard deviation"
    assert 0 < finding.values["fp16"]["mean"] < 2


def test_taesd_has_the_headroom_that_was_published(shared_data: Path) -> None:
    observation = observe(vaekit.load(shared_data / "vae" / "taesd"), side=64)
    for half in check_range(observation).values.values():
        if isinstance(half, dict):
            assert half["fp16_headroom"] > 1000
    assert torch.isfinite(observation.latents).all()
