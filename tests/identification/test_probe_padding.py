"""The padding that a VAE was trained with shows at the borders of flat images."""

import copy
import dataclasses
import re
from collections.abc import Callable

import pytest
import torch

from vaekit.checkpoints.load import load
from vaekit.families import Config, assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.padding import REFLECT, ZEROS
from vaekit.identification.probe_padding import (
    UNSURE,
    BorderError,
    PaddingProbe,
    judge_padding,
    probe_padding,
    with_padding,
)
from vaekit.normalization import LatentNormalization
from vaekit.training.init_linear import init_linear
from vaekit.vae import VAE

RandomVAE = Callable[[Config, LatentNormalization | None], VAE]


@pytest.fixture
def averaging_vae() -> VAE:
    """A decoder that smooths with weights of sum one: right under reflection, dark rims under zeros.

    No training is needed to know the truth: reflected, a flat image stays flat; beside zeros its average is less.
    """
    config = KLConfig(3, 4, 4, (32, 64, 128), (32, 64, 128), 1, 1, (), (), False, True, True, 4)
    torch.manual_seed(0)
    vae = assemble(family_of("kl"), config).eval()
    assert vae.encoder is not None
    assert vae.decoder is not None
    smooth = torch.nn.functional.interpolate(torch.rand(500, 3, 2, 2) * 2 - 1, size=(4, 4), mode="bilinear")
    init_linear(vae.encoder, vae.decoder, smooth)
    return vae


def test_averaging_needs_reflection(averaging_vae: VAE) -> None:
    seen = probe_padding(averaging_vae)
    assert seen is not None
    assert seen.verdict == REFLECT
    assert seen.description.startswith(f"reflect: border error {seen.reflect.border:.1f}/255, ")


def test_the_built_in_vae_was_trained_with_zeros() -> None:
    seen = probe_padding(load("builtin"))
    assert seen is not None
    assert seen.verdict == ZEROS
    assert seen.ratio > 2
    assert seen.description.startswith(f"zeros: border error {seen.zeros.border:.1f}/255, ")


def test_how_it_is_loaded_makes_no_difference_and_nothing_is_changed() -> None:
    vae = load("builtin", padding="reflect")
    before = {key: tensor.clone() for key, tensor in vae.state_dict().items()}
    seen = probe_padding(vae)
    assert seen == probe_padding(load("builtin"))
    assert vae.config.padding == "reflect"
    assert all(torch.equal(before[key], tensor) for key, tensor in vae.state_dict().items())


def test_random_weights_have_no_right_padding(random_vae: RandomVAE, kl_config: KLConfig) -> None:
    seen = probe_padding(random_vae(kl_config, None))
    assert seen is not None
    assert seen.verdict == UNSURE


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_flat_images_have_the_channels_of_the_vae(channels: int, random_vae: RandomVAE, small_kl: KLConfig) -> None:
    probe = probe_padding(random_vae(dataclasses.replace(small_kl, image_channels=channels), None), positions=8)
    assert probe is not None and probe.zeros.border > 0


def test_weights_that_are_no_numbers_are_unsure(kl_vae: VAE) -> None:
    with torch.no_grad():
        next(kl_vae.parameters()).fill_(float("nan"))
    seen = probe_padding(kl_vae)
    assert seen is not None
    assert seen.verdict == UNSURE


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_a_vae_shows_nothing(kl_vae: VAE, half: str) -> None:
    setattr(kl_vae, half, None)
    assert probe_padding(kl_vae) is None


def test_a_family_with_one_padding_shows_nothing(tiny_vae: VAE) -> None:
    assert probe_padding(tiny_vae) is None


def test_a_vector_quantized_vae_can_be_measured(vq_vae: VAE) -> None:
    assert probe_padding(vq_vae) is not None


@pytest.mark.parametrize(
    ("zeros", "reflect", "verdict"),
    [(1.0, 3.0, ZEROS), (3.0, 1.0, REFLECT), (1.0, 1.4, UNSURE), (1.4, 1.0, UNSURE), (0.0, 0.0, UNSURE)],
)
def test_the_padding_with_clearly_less_error_is_the_verdict(zeros: float, reflect: float, verdict: str) -> None:
    assert judge_padding(zeros, reflect) == verdict


def test_the_words_tell_both_numbers_of_both() -> None:
    seen = PaddingProbe(ZEROS, BorderError(0.44, 0.31), BorderError(7.9, 0.5))
    assert re.findall(r"zeros|reflect|[\d.]+/255|[\d.]+(?= inside)", seen.description) == [
        *("zeros", "0.4/255", "0.3"),
        *("reflect", "7.9/255", "0.5"),
    ]
    assert seen.ratio == pytest.approx(17.95, abs=0.01)


@torch.no_grad()
def test_another_padding_is_the_same_weights_and_another_rim(kl_vae: VAE) -> None:
    other = with_padding(kl_vae, REFLECT)
    assert other.config == dataclasses.replace(kl_vae.config, padding=REFLECT)
    assert other.normalization == kl_vae.normalization
    ours, theirs = kl_vae.state_dict(), other.state_dict()
    assert all(theirs[key].data_ptr() == ours[key].data_ptr() for key in ours)
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert not torch.equal(other.reconstruct(x), kl_vae.reconstruct(x))
    back = with_padding(copy.deepcopy(other), ZEROS)
    assert torch.equal(back.reconstruct(x), kl_vae.reconstruct(x))
