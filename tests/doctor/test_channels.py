from collections.abc import Callable

import pytest
import torch
from family_examples import EXAMPLES
from refusals import lacks

from vaekit.distributions import DiagonalGaussian, StandardNormal
from vaekit.doctor.channels import channel_kl, check_channels
from vaekit.doctor.observe import Observation, observe
from vaekit.families import assemble, family_of
from vaekit.vae import VAE


def test_all_channels_of_a_sound_vae_live(observed: Observation) -> None:
    finding = check_channels(observed)
    assert finding.status == "ok"
    assert finding.values["dead"] == finding.values["ignored_by_decoder"] == []
    assert sum(finding.values["variance_shares"]) == pytest.approx(1)
    assert max(finding.values["effects"]) == pytest.approx(1)


def test_a_dead_channel_is_named(spoilt: Callable[..., Observation]) -> None:
    def silence(vae: VAE) -> None:
        vae.get_parameter("encoder.quant_conv.weight")[2] = 0

    finding = check_channels(spoilt(silence))
    assert finding.status == "wrong"
    assert finding.values["dead"] == [2]
    assert "2" in finding.message


def test_a_channel_that_the_decoder_ignores_is_named(spoilt: Callable[..., Observation]) -> None:
    def deaf(vae: VAE) -> None:
        vae.get_parameter("decoder.post_quant_conv.weight")[:, 1] = 0

    finding = check_channels(spoilt(deaf))
    assert finding.status == "wrong"
    assert finding.values["ignored_by_decoder"] == [1]
    assert finding.values["dead"] == []


def test_a_channel_with_nearly_all_variance_is_a_warning(spoilt: Callable[..., Observation]) -> None:
    def dominant(vae: VAE) -> None:
        for name in ("weight", "bias"):
            vae.get_parameter(f"encoder.quant_conv.{name}")[0].mul_(20)

    finding = check_channels(spoilt(dominant))
    assert finding.status == "warning"
    assert not lacks(finding.message, "0")


def test_a_posterior_that_is_the_prior_is_a_warning(spoilt: Callable[..., Observation]) -> None:
    def collapse(vae: VAE) -> None:
        log_variance = vae.config.geometry.latent_channels + 3
        for channel, factor in ((3, 0.05), (log_variance, 0.0)):
            for name in ("weight", "bias"):
                vae.get_parameter(f"encoder.quant_conv.{name}")[channel].mul_(factor)

    finding = check_channels(spoilt(collapse))
    assert finding.status == "warning"
    assert finding.values["collapsed"] == [3]


def test_kl_is_that_of_the_posterior(observed: Observation) -> None:
    posterior = observed.posterior
    assert isinstance(posterior, DiagonalGaussian)
    kl = channel_kl(observed)
    assert kl is not None
    positions = posterior.mean[0, 0].numel()
    expected = posterior.kl(StandardNormal()).mean().item() / positions
    assert sum(kl) == pytest.approx(expected, rel=1e-4)
    assert torch.tensor(kl).min() > 1


def test_a_collapsed_vector_is_wrong_and_a_partly_idle_one_is_not() -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("burgess"), EXAMPLES["burgess"]).eval()
    said = vae.get_submodule("encoder.mu_logvar_gen")
    with torch.no_grad():
        said.bias.copy_(torch.tensor([1.0, -1.0]).repeat(4))
        assert check_channels(observe(vae)).status == "ok"
        for idle in ([0, 1], range(8)):  # mean and log-variance of the first number; of all
            said.weight[idle], said.bias[idle] = 0, 0
            finding = check_channels(observe(vae))
            assert len(finding.values["collapsed"]) == len(idle) // 2
            assert finding.status == ("wrong" if len(idle) == 8 else "ok")
