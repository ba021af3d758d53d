"""Shape twins told apart by their latents; what is not known is said to be unknown."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from refusals import refuses
from torch import Tensor, nn

from vaekit.catalog.entries import LatentSpace, latent_spaces
from vaekit.checkpoints.load import load
from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import BadItem, HalfMissing
from vaekit.families.kl.net import KLConfig, build
from vaekit.geometry import Geometry
from vaekit.identification.probe_latents import (
    ENOUGH,
    LatentProbe,
    SpaceVerdict,
    color_agreement,
    nearest_latent_space,
    probe_inputs,
    probe_latents,
    shared,
)
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

SPACES = {space.name: space for space in latent_spaces()}
FOUR = (SPACES["SD1 / SD2"], SPACES["SDXL"], SPACES["Playground 2.5"])
SIXTEEN = (SPACES["SD3 / SD3.5"], SPACES["FLUX.1"])
NOVELAI = LatentProbe((4.8119, 0.1607, 1.3538, -1.7753), (9.9181, 6.2753, 7.5978, 5.9956))
"""SDXL's latents of drawings (arXiv 2409.15997, appendix B): nothing that the space's own statistics were made from."""


def rescaled(measured: LatentProbe, factor: float, offset: float = 0.0) -> LatentProbe:
    """What would have been measured of latents that are factor * z + offset."""
    size = torch.tensor([factor] * len(measured.mean) + [1.0] * 3)
    covariance = torch.tensor(measured.covariance) * size * size[:, None] if measured.covariance else torch.empty(0)
    return LatentProbe(
        tuple(factor * value + offset for value in measured.mean),
        tuple(factor * value for value in measured.std),
        tuple(map(tuple, covariance.tolist())),
    )


def drawn_from(space: LatentSpace, mean: Tensor, std: Tensor) -> LatentProbe:
    """Latents of given statistics that carry color where a space's map looks for it, with as much noise beside."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]).double()
    spread = torch.tensor([0.35, 0.1, 0.15]).double()
    colors = axes.T @ (spread[:, None] * torch.randn(3, 4000, generator=generator).double())
    z = torch.linalg.pinv(torch.tensor(space.colors).double().T) @ colors
    z = z / z.std(dim=1, keepdim=True) + torch.randn(z.shape, generator=generator).double()
    z = z / z.std(dim=1, keepdim=True) * std.double()[:, None]
    covariance = torch.cat([z, colors]).cov()
    return LatentProbe(tuple(mean.tolist()), tuple(std.tolist()), tuple(map(tuple, covariance.tolist())))


def statistics(space: LatentSpace) -> tuple[Tensor, Tensor]:
    assert space.latents is not None
    return torch.tensor(space.latents.mean), torch.tensor(space.latents.std)


@pytest.fixture(scope="module")
def sdxl() -> LatentProbe:
    return drawn_from(SPACES["SDXL"], *statistics(SPACES["SDXL"]))


@pytest.fixture(scope="module")
def sd1(shared_data: Path) -> LatentProbe:
    """TAESD's encoder stands in for SD1's: it was distilled from it, and says latents times 0.18215."""
    return rescaled(probe_latents(load(shared_data / "vae" / "taesd")), 1 / 0.18215)


@pytest.fixture(scope="module")
def sd3(shared_data: Path) -> LatentProbe:
    return rescaled(probe_latents(load(shared_data / "vae" / "taesd3")), 1 / 1.5305, 0.0609)


def named(verdict: SpaceVerdict) -> str | None:
    return verdict.latent_space.name if verdict.latent_space else None


def test_taesd_speaks_sd1(sd1: LatentProbe) -> None:
    verdict = nearest_latent_space(sd1, FOUR)
    assert named(verdict) == "SD1 / SD2"
    assert verdict.description == "measured: std 3.6, nearest SD1 / SD2 (0.18215 = 1/5.49), confidence 0.96"


def test_taesd3_speaks_sd3(sd3: LatentProbe) -> None:
    verdict = nearest_latent_space(sd3, SIXTEEN)
    assert named(verdict) == "SD3 / SD3.5"
    assert verdict.confidence > 0.9


def test_its_colors_tell_a_kind(sd1: LatentProbe, sd3: LatentProbe) -> None:
    right, wrong = (color_agreement(sd1, space) for space in FOUR[:2])
    assert right is not None
    assert wrong is not None
    assert right > 0.4 > 0 > wrong
    right, wrong = (color_agreement(sd3, space) for space in SIXTEEN)
    assert right is not None
    assert wrong is not None
    assert right > 0.9 > wrong


def test_sdxl_of_other_images_is_sdxl(sdxl: LatentProbe) -> None:
    for measured in (sdxl, NOVELAI, drawn_from(SPACES["SDXL"], *map(torch.tensor, (NOVELAI.mean, NOVELAI.std)))):
        verdict = nearest_latent_space(measured, FOUR)
        assert named(verdict) == "SDXL"
        assert verdict.confidence > 0.9


def test_flux_is_known_by_its_scale_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = 0.1159 + 2 * torch.randn(16, generator=generator)
    std = 2.77 * torch.exp(0.2 * torch.randn(16, generator=generator))
    verdict = nearest_latent_space(drawn_from(SPACES["FLUX.1"], mean, std), SIXTEEN)
    assert named(verdict) == "FLUX.1"
    assert "(0.3611 = 1/2.77)" in verdict.description


@pytest.mark.parametrize("factor", [0.3, 0.4, 0.5, 0.6])
def test_a_fine_tune_with_shrunken_latents_is_not_taken_for_the_twin(sdxl: LatentProbe, factor: float) -> None:
    """SDXL at half its scale has the statistics of SD1, channel by channel; its colors give it away."""
    verdict = nearest_latent_space(rescaled(sdxl, factor), FOUR)
    assert verdict.latent_space is None
    assert verdict.confidence < ENOUGH
    assert verdict.description.startswith("unknown, measured scale 1/std = ")


def test_the_words_say_what_an_unknown_one_is_like(sdxl: LatentProbe) -> None:
    verdict = nearest_latent_space(rescaled(sdxl, 0.4), FOUR)
    assert verdict.description == "unknown, measured scale 1/std = 0.36: like SDXL, at 0.4 times its std"


@pytest.mark.parametrize("factor", [0.05, 0.2, 0.5, 2, 3, 4.25, 10])
def test_no_scale_makes_a_twin_of_the_other(sd1: LatentProbe, sd3: LatentProbe, factor: float) -> None:
    assert nearest_latent_space(rescaled(sd1, factor), FOUR).latent_space is None
    assert nearest_latent_space(rescaled(sd3, factor), SIXTEEN).latent_space is None


def test_confidence_falls_with_the_distance(sdxl: LatentProbe) -> None:
    confidences = [
        nearest_latent_space(rescaled(sdxl, factor), FOUR[1:2]).confidence for factor in (1, 0.8, 0.7, 0.6, 0.4)
    ]
    assert confidences == sorted(confidences, reverse=True)


def test_the_built_in_vae_is_a_stranger() -> None:
    vae = load("builtin")
    assert vae.normalization is not None
    measured = probe_latents(vae)
    assert len(measured.mean) == len(measured.std) == 16
    verdict = nearest_latent_space(measured, SIXTEEN)
    assert verdict.latent_space is None
    assert verdict.confidence < 0.01
    # Its normalization is that of the images that it was trained on.
    assert 1 / measured.pooled_std == pytest.approx(vae.normalization.scale[0], rel=0.5)
    assert torch.tensor(measured.mean).mean().item() == pytest.approx(vae.normalization.shift[0], abs=0.3)


def test_measuring_twice_says_the_same_and_changes_nothing() -> None:
    vae = load("builtin")
    assert probe_latents(vae) == probe_latents(vae)
    assert next(vae.parameters()).dtype == torch.float16


def test_sampling_adds_its_noise() -> None:
    class Encoder(nn.Module):
        config = SimpleNamespace(geometry=Geometry(3, 3, (8, 8)))

        def forward(self, x: Tensor) -> Tensor:
            mean = nn.functional.avg_pool2d(x, 8)
            return torch.cat([mean, torch.full_like(mean, math.log(9.0))], dim=1)

    vae = VAE(Encoder(), DiagonalGaussian.from_moments, None, Laplace).eval()
    measured = probe_latents(vae)
    spread = torch.tensor(measured.covariance).diagonal()[:3]
    torch.testing.assert_close(torch.tensor(measured.std).square(), spread + 9)
    # Here latents are colors.
    assert measured.covariance[0][3] == pytest.approx(measured.covariance[0][0])


def test_candidates_that_cannot_be_compared_are_left_out() -> None:
    assert nearest_latent_space(NOVELAI, [SPACES["Playground 2.5"]]) == SpaceVerdict(
        None, 0.0, "unknown, measured scale 1/std = 0.13"
    )
    assert nearest_latent_space(NOVELAI, [SPACES["LDM kl-f4"]]).confidence == 0
    assert nearest_latent_space(NOVELAI, []).latent_space is None
    assert nearest_latent_space(NOVELAI, [SPACES["SD3 / SD3.5"]]).confidence == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_broken_latents_are_unknown(bad: float) -> None:
    measured = dataclasses.replace(NOVELAI, std=(bad, 1.0, 1.0, 1.0))
    verdict = nearest_latent_space(measured, FOUR)
    assert (verdict.latent_space, verdict.confidence) == (None, 0.0)
    assert verdict.description.startswith("unknown: ")


def test_gray_and_odd_images() -> None:
    config = KLConfig(1, 2, 2, (8, 8), (8, 8), 1, 1, (), (), False, False, False, 4)
    encoder, _ = build(config)
    gray = VAE(encoder, DiagonalGaussian.from_moments, None, Laplace).eval()
    assert len(probe_latents(gray).mean) == 2
    encoder, _ = build(dataclasses.replace(config, image_channels=2))
    with refuses(BadItem, "2"):
        probe_latents(VAE(encoder, DiagonalGaussian.from_moments, None, Laplace).eval())


def test_a_decoder_alone_cannot_be_measured(kl_vae: VAE) -> None:
    kl_vae.encoder = None
    with pytest.raises(HalfMissing):
        probe_latents(kl_vae)


def test_vector_quantized_and_plain_latents_are_measured(vq_vae: VAE, tiny_vae: VAE) -> None:
    for vae in (vq_vae, tiny_vae):
        assert len(probe_latents(vae).std) == 4


def test_what_is_ready_is_not_copied(kl_vae: VAE) -> None:
    assert probe_inputs(kl_vae) is kl_vae
    assert probe_inputs(kl_vae.half()) is not kl_vae


def test_the_shared_part_is_one_normal_density() -> None:
    away = torch.randn(5, generator=torch.Generator().manual_seed(0)).double()
    covariance = 0.3**2 * torch.eye(5).double() + 0.7**2
    expected = torch.distributions.MultivariateNormal(torch.zeros(5).double(), covariance).log_prob(away)
    assert shared(away, 0.3, 0.7) == pytest.approx(expected.item())


@pytest.mark.parametrize(
    "space", [space for space in latent_spaces() if space.latents or space.colors], ids=lambda space: space.name
)
def test_what_the_table_knows_is_whole(space: LatentSpace) -> None:
    channels = space.match["latent_channels"]
    for numbers in (space.latents.mean, space.latents.std) if space.latents else ():
        assert len(numbers) == channels
    assert space.colors is None or [len(row) for row in space.colors] == [3] * channels
    assert not space.latents or min(space.latents.std) > 0


def test_playground_is_sdxl_in_another_normalization() -> None:
    playground = SPACES["Playground 2.5"]
    assert playground.same_weights_as == "SDXL"
    assert isinstance(playground.normalization, LatentNormalization)
    mean, std = statistics(SPACES["SDXL"])
    torch.testing.assert_close(torch.tensor(playground.normalization.shift), mean)
    torch.testing.assert_close(torch.tensor(playground.normalization.scale), 0.5 / std)
