import math
from collections.abc import Callable

import torch
from refusals import lacks

from vaekit.doctor.finite import check_activations, check_weights
from vaekit.doctor.observe import Observation
from vaekit.vae import VAE


def test_a_sound_vae_is_finite(healthy: VAE, observed: Observation) -> None:
    assert check_weights(healthy).status == "ok"
    finding = check_activations(observed)
    assert finding.status == "ok"
    assert finding.values["encoder"]["first"] is None


def test_one_nan_in_a_weight_is_found_by_name(spoilt: Callable[..., Observation]) -> None:
    def one_nan(vae: VAE) -> None:
        vae.get_parameter("decoder.mid.block_1.conv2.weight")[3, 2, 1, 0] = math.nan

    observation = spoilt(one_nan)
    weights, activations = check_weights(observation.vae), check_activations(observation)
    assert weights.status == activations.status == "wrong"
    assert weights.values["tensors"] == {"decoder.mid.block_1.conv2.weight": {"not_finite": 1, "of": 147456}}
    assert not lacks(weights.message, "decoder.mid.block_1.conv2.weight", "1", "147,456")
    assert activations.values["decoder"]["first"]["place"] == "decoder.mid.block_1.conv2"
    assert 0 < activations.values["decoder"]["first"]["nan"] < activations.values["decoder"]["first"]["of"]
    assert activations.values["encoder"]["first"] is None


def test_sound_weights_may_still_overflow_fp32(spoilt: Callable[..., Observation]) -> None:
    def huge(vae: VAE) -> None:
        vae.get_parameter("encoder.down.1.block.0.conv2.weight").sign_().mul_(3e38)

    observation = spoilt(huge)
    assert check_weights(observation.vae).status == "ok"
    finding = check_activations(observation)
    assert finding.status == "wrong"
    assert finding.values["encoder"]["first"]["place"] == "encoder.down.1.block.0.conv2"
    assert torch.isfinite(observation.vae.get_parameter("encoder.down.1.block.0.conv2.weight")).all()
