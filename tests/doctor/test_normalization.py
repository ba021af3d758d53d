import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
from published_configs import PUBLISHED
from refusals import lacks
from torch import nn

import vaekit
from vaekit.catalog.entries import entry_named
from vaekit.distributions import Normal, Point
from vaekit.doctor.normalization import check_normalization
from vaekit.doctor.observe import Observation, observe
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


def framed(observed: Observation, normalization: LatentNormalization | None) -> Observation:
    """The same observation of a VAE with another normalization: the networks do not know it."""
    vae = observed.vae
    return replace(observed, vae=VAE(vae.encoder, vae.to_posterior, vae.decoder, vae.to_likelihood, normalization))


def test_the_right_normalization_is_right(observed: Observation) -> None:
    finding = check_normalization(observed, entry_named("builtin"))
    assert finding.status == "ok"
    assert 0.5 < finding.values["std"] < 2


@pytest.mark.parametrize("factor", [5.0, 0.2])
def test_a_normalization_wrong_by_five_is_wrong(observed: Observation, factor: float) -> None:
    normalization = observed.vae.normalization
    assert normalization is not None
    finding = check_normalization(
        framed(observed, LatentNormalization(normalization.shift, (normalization.scale[0] * factor,)))
    )
    assert finding.status == "wrong"
    assert f"{1 / observed.latents.std().item():.4g}" in finding.remedy


def test_a_wrong_shift_is_seen(observed: Observation) -> None:
    assert check_normalization(framed(observed, LatentNormalization((5.0,), (0.5145,)))).status != "ok"


def test_a_normalization_that_changes_nothing_is_at_most_a_warning(observed: Observation) -> None:
    louder = replace(observed, latents=observed.latents * 10)
    assert check_normalization(framed(louder, LatentNormalization())).status == "warning"


def test_an_unknown_normalization_is_suggested(observed: Observation) -> None:
    finding = check_normalization(framed(observed, None))
    assert finding.status == "warning"
    assert finding.values["measured"]["scale"] == pytest.approx(1 / observed.latents.std().item())


def test_another_normalization_than_the_card_says_is_wrong(observed: Observation) -> None:
    entry = entry_named("builtin")
    assert entry is not None
    other = dataclasses.replace(entry, own_normalization=LatentNormalization((0.0,), (0.7,)))
    finding = check_normalization(observed, other)
    assert finding.status == "wrong"
    assert "0.7" in finding.message


def test_a_decoder_alone_has_nothing_to_measure(healthy: VAE) -> None:
    alone = VAE(None, healthy.to_posterior, healthy.decoder, healthy.to_likelihood, healthy.normalization)
    assert check_normalization(observe(alone, side=64)).status == "skipped"


class Shaped(nn.Module):
    """Something of SD1's and SDXL's shape, as far as its config tells."""

    config = PUBLISHED["SD1 and SDXL"]


def test_latents_that_measure_like_the_twins_are_told_of(shared_data: Path) -> None:
    """TAESD's latents, in SD1's scale, stand in for SD1's."""
    taesd = observe(vaekit.load(shared_data / "vae" / "taesd"))
    raw = taesd.latents / 0.18215
    told = {}
    for name, scale in (("SD1", 0.18215), ("SDXL", 0.13025)):
        vae = VAE(Shaped(), Point, None, Normal, LatentNormalization((0.0,), (scale,)))
        told[name] = check_normalization(replace(taesd, vae=vae, latents=raw, posterior=Point(raw)))
    assert told["SD1"].status == "ok"
    assert told["SDXL"].status == "warning"
    assert not lacks(told["SDXL"].message, "SD1 / SD2", "0.18215")
