from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit.distributions import Normal, Point
from vaekit.doctor.halves import Transformation, check_match, flat, mixed, reordered, scaled
from vaekit.doctor.observe import Observation, observe
from vaekit.vae import VAE


def test_halves_of_one_vae_match(observed: Observation) -> None:
    finding = check_match(observed)
    assert finding.status == "ok"
    assert finding.values["agreement"] > 0.9
    assert finding.values["psnr"] > finding.values["psnr_of_block_means"]


@pytest.mark.parametrize("factor", [5.0, 0.2])
def test_a_decoder_for_another_scale_is_seen(spoilt: Callable[..., Observation], factor: float) -> None:
    def scale(vae: VAE) -> None:
        vae.get_parameter("decoder.post_quant_conv.weight").mul_(factor)

    finding = check_match(spoilt(scale))
    assert finding.status == "wrong"
    assert finding.values["gain"]["transformation"] == "scaled"
    (told,) = (word for word in finding.message.split("latents times ")[1].split()[:1])
    assert float(told) == pytest.approx(1 / factor, rel=0.3)


def test_swapped_channels_are_seen(spoilt: Callable[..., Observation]) -> None:
    def swap(vae: VAE) -> None:
        weight = vae.get_parameter("decoder.post_quant_conv.weight")
        weight[:, [1, 3]] = weight[:, [3, 1]]

    finding = check_match(spoilt(swap))
    assert finding.status == "wrong"
    assert finding.values["gain"]["transformation"] == "reordered"
    assert "(3 as 1, 1 as 3)" in finding.message


def test_a_turned_latent_space_is_seen(spoilt: Callable[..., Observation]) -> None:
    def mix(vae: VAE) -> None:
        count = vae.config.geometry.latent_channels
        turn, _ = torch.linalg.qr(torch.randn(count, count, generator=torch.Generator().manual_seed(0)))
        weight = vae.get_parameter("decoder.post_quant_conv.weight")
        weight.copy_((weight[:, :, 0, 0] @ turn)[..., None, None])

    finding = check_match(spoilt(mix))
    assert finding.status == "wrong"
    assert finding.values["gain"]["transformation"] == "mixed"


def test_a_decoder_that_knows_nothing_is_wrong(healthy: VAE) -> None:
    from vaekit.families.kl import net as kl

    torch.manual_seed(0)
    _, stranger = kl.build(healthy.config)
    pair = VAE(healthy.encoder, healthy.to_posterior, stranger, healthy.to_likelihood, healthy.normalization).eval()
    assert check_match(observe(pair, side=64)).status == "wrong"


@pytest.mark.nightly
def test_taesd3s_encoder_with_the_builtin_decoder(shared_data: Path, healthy: VAE) -> None:
    taesd3 = vaekit.load(shared_data / "vae" / "taesd3").float()
    assert check_match(observe(taesd3, side=64)).status == "ok"
    pair = VAE(taesd3.encoder, Point, healthy.decoder, Normal, taesd3.normalization).eval()
    finding = check_match(observe(pair, side=64))
    assert finding.status == "wrong"


@pytest.mark.parametrize("fit", [scaled, reordered, mixed])
def test_changes_are_found_in_numbers(fit: Callable[..., Transformation]) -> None:
    z = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    true = {
        scaled: Transformation(2 * torch.eye(3).double(), torch.full((3,), 0.5).double()),
        reordered: Transformation(
            torch.tensor([[0, 2.0, 0], [-1, 0, 0], [0, 0, 0.5]]).double(), torch.arange(3).double()
        ),
        mixed: Transformation(torch.tensor([[1, 2.0, 0], [-1, 0, 1], [0, 1, 0.5]]).double(), torch.arange(3).double()),
    }[fit]
    found = fit(flat(true.apply(z)), flat(z))
    tolerance = 0.2 if fit is scaled else 0.1 if fit is reordered else 1e-4
    assert torch.allclose(found.weights, true.weights, atol=tolerance)
    assert torch.allclose(found.offsets, true.offsets, atol=0.1)
