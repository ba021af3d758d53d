"""All checks together, on every kind of VAE there is."""

import copy
import math
from pathlib import Path

import pytest
import torch
from family_examples import IMAGES, daily
from slow_cases import nightly

import vaekit
from vaekit.doctor.examine import CHECKS, examine
from vaekit.doctor.findings import Finding, worst
from vaekit.doctor.observe import image_side
from vaekit.families import assemble, family_of
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

OFTEN = ("kl", "tiny", "vq")
"""Families whose halves are examined in every run; the others in nightly ones."""


def found(vae: VAE, images: torch.Tensor | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(vae, images, side=32)}


def example(family: str, halves: tuple[str, ...] = ("encoder", "decoder")) -> VAE:
    torch.manual_seed(0)
    return assemble(family_of(family), IMAGES[family], halves, LatentNormalization()).eval()


@pytest.mark.parametrize("family", daily(IMAGES))
def test_every_family_is_examined(family: str) -> None:
    findings = found(example(family))
    assert tuple(findings) == CHECKS
    for finding in findings.values():
        assert finding.message
        assert "nan" not in finding.message
        assert bool(finding.remedy) == (finding.status in ("warning", "wrong"))
    assert findings["activations"].status == "ok"
    assert findings["fp16_range"].status == "ok"


@pytest.mark.parametrize(
    "family", [family if family in OFTEN else pytest.param(family, marks=pytest.mark.nightly) for family in IMAGES]
)
@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_half_a_vae_is_examined_as_far_as_it_goes(family: str, half: str) -> None:
    vae = example(family, (half,))
    if vae.encoder is None and vae.decoder is None:
        pytest.skip("this family has no such half")
    findings = found(vae)
    assert findings["match"].status == "skipped"
    assert findings["fp16_range"].status == "ok"
    assert half in findings["fp16_range"].message


def test_the_builtin_vae_is_healthy() -> None:
    findings = {finding.name: finding for finding in examine(vaekit.load("builtin"), side=64)}
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize("family", ["kl", "burgess"])
def test_nan_ends_what_cannot_be_computed(family: str) -> None:
    vae = example(family)
    assert vae.decoder is not None
    with torch.no_grad():
        next(vae.decoder.parameters()).view(-1)[0] = math.nan
    findings = found(vae)
    assert tuple(findings) == CHECKS
    assert findings["weights"].status == findings["activations"].status == "wrong"
    assert {findings[name].status for name in CHECKS[2:]} == {"skipped"}
    assert worst(findings.values()) == "wrong"


@pytest.mark.parametrize("family", ["kl", "burgess", "joint", "vq"])
def test_images_of_the_user_are_looked_at(family: str) -> None:
    vae = example(family)
    side = image_side(vae.geometry, 32)
    images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    findings = found(vae, images)
    assert tuple(findings) == CHECKS
    if findings["normalization"].status == "warning":
        assert (
            "3 of your images" in findings["normalization"].message or findings["normalization"].values["normalization"]
        )


def test_one_image_of_the_user_is_enough_for_a_vector() -> None:
    vae = example("burgess")
    assert tuple(found(vae, torch.zeros(1, 3, 32, 32))) == CHECKS


def test_weights_in_half_precision_are_examined_in_fp32() -> None:
    vae = example("kl")
    halved = copy.deepcopy(vae).half()
    findings = found(halved)
    assert findings["activations"].status == "ok"
    assert next(halved.parameters()).dtype == torch.float16


@pytest.mark.parametrize(
    "name", ["disentangling/VAE_celeba/model.pt", "disentangling/btcvae_mnist/model.pt", "joint/mnist/model.pt"]
)
def test_classical_vaes_are_well_as_far_as_they_can_be_judged(shared_data: Path, name: str) -> None:
    findings = found(vaekit.load(shared_data / "vae" / name))
    assert worst(findings.values()) == "ok"
    assert findings["match"].status == "ok"
    assert findings["normalization"].status == findings["grid"].status == "skipped"


def test_the_decoder_of_another_classical_vae_is_none_for_this_one(shared_data: Path) -> None:
    a, b = (
        vaekit.load(shared_data / "vae" / "disentangling" / name / "model.pt") for name in ("VAE_mnist", "btcvae_mnist")
    )
    pair = VAE(a.encoder, a.to_posterior, b.decoder, a.to_likelihood)
    assert found(pair)["match"].status in ("wrong", "warning")


@pytest.mark.parametrize("name", ["taesd", *nightly("taesd3", "taef2")])
def test_real_tiny_vaes_are_well(shared_data: Path, name: str) -> None:
    findings = {finding.name: finding for finding in examine(vaekit.load(shared_data / "vae" / name), side=64)}
    statuses = {name: finding.status for name, finding in findings.items() if finding.status != "ok"}
    assert statuses == ({"normalization": "warning"} if name == "taef2" else {})
