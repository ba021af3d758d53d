"""What every prior over numbers must do, whether it is learned or not, tried on all of them."""

import copy
import math
from pathlib import Path

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily
from torch.distributions import Normal as TorchNormal

import vaekit
from vaekit.checkpoints.save import save
from vaekit.distributions import DiagonalGaussian, GaussianMixture, SampledPrior, StandardNormal
from vaekit.errors import UnknownVAE
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import CustomaryPart, GaussianPart, PartsConfig, PointPart
from vaekit.nets.likelihoods import NormalPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.part_protocols import PriorPart
from vaekit.nets.priors import FlowPart, MixturePart, StandardPart, VampPart
from vaekit.vae import VAE

PRIORS: dict[str, PriorPart] = {
    "customary": CustomaryPart(),
    "standard": StandardPart(),
    "vamp": VampPart(components=7, spread=1.0),
    "mixture": MixturePart(components=4, spread=2.0),
    "flow": FlowPart(layers=4, hidden=8),
}
LEARNED = ("vamp", "mixture", "flow")
REACH, STEPS = 12.0, 601
SAMPLES = 60_000


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def vae_with(prior: PriorPart, shape: tuple[int, ...] = (5,)) -> VAE:
    """A latent of two numbers, weights well away from where they begin."""
    torch.manual_seed(0)
    config = PartsConfig(MLPConfig(shape, 2, (8,)), GaussianPart(), NormalPart(), prior)
    vae = assemble(PARTS, config)  # type: ignore[arg-type]  # a config as any other
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return vae


@pytest.fixture(params=list(PRIORS))
def vae(request: pytest.FixtureRequest) -> VAE:
    return vae_with(PRIORS[request.param])


def prior_of(vae: VAE) -> SampledPrior:
    prior = vae.prior
    assert isinstance(prior, SampledPrior)
    return prior


@pytest.fixture(scope="module")
def grid() -> tuple[Tensor, float]:
    """Points of the plane (n, 2), and the area that each stands for."""
    line = torch.linspace(-REACH, REACH, STEPS)
    return torch.cartesian_prod(line, line), (2 * REACH / (STEPS - 1)) ** 2


@torch.no_grad()
def test_the_density_integrates_to_one(vae: VAE, grid: tuple[Tensor, float]) -> None:
    points, area = grid
    assert prior_of(vae).log_prob(points).double().exp().sum().item() * area == pytest.approx(1, abs=2e-4)


@torch.no_grad()
def test_samples_have_the_mean_and_spread_that_the_density_says(vae: VAE, grid: tuple[Tensor, float]) -> None:
    points, area = grid
    weights = prior_of(vae).log_prob(points).double().exp().unsqueeze(1) * area
    z = prior_of(vae).sample(torch.empty(SAMPLES, 2), seeded()).double()
    for power in (1, 2):
        expected = (weights * points**power).sum(dim=0)
        error = (z**power).std(dim=0) / math.sqrt(SAMPLES)
        assert ((z**power).mean(dim=0) - expected).abs().lt(4.5 * error).all()
    expected = (weights.squeeze(1) * points.prod(dim=1)).sum()
    assert (z.prod(dim=1).mean() - expected).abs() < 4.5 * z.prod(dim=1).std() / math.sqrt(SAMPLES)


def test_one_seed_gives_one_sample_and_a_batch_is_its_items(vae: VAE) -> None:
    prior, like = prior_of(vae), torch.empty(6, 2)
    z = prior.sample(like, seeded(1))
    assert z.shape == like.shape and z.dtype == like.dtype
    assert torch.equal(z, prior.sample(like, seeded(1)))
    each = torch.cat([prior.log_prob(z[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(prior.log_prob(z), each)


def test_what_a_prior_is_called_fits_on_a_line(vae: VAE) -> None:
    assert len(repr(vae.prior)) < 60 and "tensor" not in repr(vae.prior)


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_every_number_of_it(name: str) -> None:
    vae = vae_with(PRIORS[name])
    assert isinstance(vae.to_prior, torch.nn.Module)
    prior_of(vae).log_prob(torch.randn(50, 2, generator=seeded())).sum().backward()
    for parameter in vae.to_prior.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


def test_a_vamp_prior_teaches_the_encoder() -> None:
    vae = vae_with(PRIORS["vamp"])
    assert vae.encoder is not None
    prior_of(vae).log_prob(torch.randn(5, 2, generator=seeded())).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in vae.encoder.parameters())


@pytest.mark.parametrize("shape", [(5,), (1, 4, 4)], ids=["rows", "images"])
@pytest.mark.parametrize("name", PRIORS)
def test_files_and_copies_keep_every_bit(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    vae = vae_with(PRIORS[name], shape)
    save(vae, tmp_path / "vae.safetensors")
    again = vaekit.load(tmp_path / "vae.safetensors")
    assert again.config == vae.config
    z = vae.encode(torch.randn(3, *shape, generator=seeded())).sample(seeded())
    for other in (again, copy.deepcopy(vae)):
        assert other.state_dict().keys() == vae.state_dict().keys()
        assert all(
            torch.equal(a, b) for a, b in zip(other.state_dict().values(), vae.state_dict().values(), strict=True)
        )
        assert torch.equal(prior_of(other).log_prob(z), prior_of(vae).log_prob(z))
        assert torch.equal(prior_of(other).sample(z, seeded()), prior_of(vae).sample(z, seeded()))


def test_a_mixture_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(5, 3, 2, generator=seeded()), torch.randn(5, 3, 2, generator=seeded(1)) - 3
    log_weights = torch.randn(5, generator=seeded(2)).log_softmax(dim=0)
    z = 3 * torch.randn(9, 3, 2, generator=seeded(3))
    components = Independent(TorchNormal(mean, (log_variance / 2).exp()), 2)
    theirs = MixtureSameFamily(Categorical(logits=log_weights), components).log_prob(z)
    torch.testing.assert_close(GaussianMixture(mean, log_variance, log_weights).log_prob(z), theirs)


def test_narrow_components_far_out_lose_no_digits() -> None:
    mean = torch.full((4, 40), 30.0)
    mixture = GaussianMixture.even(mean, torch.full((4, 40), -12.0))
    z = mean + 0.002 * torch.randn(4, 40, generator=seeded())
    expected = DiagonalGaussian(mean.double(), torch.full((4, 40), -12.0).double()).log_prob(z.double())
    torch.testing.assert_close(mixture.log_prob(z).double(), expected, rtol=1e-6, atol=0)


@torch.no_grad()
def test_the_kl_to_a_learned_prior_is_right_on_average() -> None:
    posterior = DiagonalGaussian(torch.full((40_000, 2), 0.7), torch.full((40_000, 2), -1.0))
    standard = GaussianMixture.even(torch.zeros(3, 2), torch.zeros(3, 2))
    found = posterior.kl(standard, seeded())
    expected = posterior.kl(StandardNormal())[0]
    assert (found.mean() - expected).abs() < 4 * found.std() / 200


def test_a_flow_that_has_learned_nothing_is_standard() -> None:
    torch.manual_seed(0)
    flow = FlowPart(layers=3).head(MLPConfig((5,), 3, (8,)), GaussianPart())
    z = torch.randn(4, 3, generator=seeded())
    torch.testing.assert_close(flow(lambda _: DiagonalGaussian(z, z)).log_prob(z), StandardNormal().log_prob(z))


@torch.no_grad()
def test_a_flow_is_undone_exactly_and_tells_its_determinant() -> None:
    torch.manual_seed(0)
    flow = FlowPart(layers=5, hidden=8).head(MLPConfig((5,), 3, (8,)), GaussianPart()).double()
    for parameter in flow.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    z = torch.randn(4, 3, generator=seeded(), dtype=torch.float64)
    noise, log_determinant = flow.to_noise(z)
    torch.testing.assert_close(flow.from_noise(noise), z)
    for i in range(4):
        jacobian: Tensor = torch.autograd.functional.jacobian(lambda v: flow.to_noise(v[None])[0][0], z[i])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(torch.linalg.det(jacobian).abs().log(), log_determinant[i])


def test_pseudo_inputs_stay_in_the_range_of_the_data_and_can_begin_as_data() -> None:
    torch.manual_seed(0)
    vamp = VampPart(components=6, mean=-2.0, spread=0.01, bound=3.0).head(MLPConfig((1, 4, 4), 2, (8,)), GaussianPart())
    assert vamp.items.shape == (6, 1, 4, 4)
    assert (vamp.items + 2).abs().max() < 0.2
    items = torch.randn(6, 1, 4, 4, generator=seeded())
    vamp.start_from(items)
    torch.testing.assert_close(vamp.items, items.clamp(-2.7, 2.7))
    vamp.start_from(torch.full((6, 1, 4, 4), 3.0))
    assert vamp.items.isfinite().all()


def words(prior: dict[str, object], **changed: object) -> dict[str, object]:
    told: dict[str, object] = {
        "net": {"kind": "mlp", "data_shape": [5], "latent_channels": 2, "hidden": [8]},
        "posterior": {"kind": "gaussian"},
        "likelihood": {"kind": "normal"},
        "prior": prior,
    }
    return told | changed


SEQUENCE = {"kind": "tokens", "vocabulary": 3, "length": 4, "latent_channels": 2}
TOKENS = {"net": SEQUENCE, "likelihood": {"kind": "tokens"}}
BAD: dict[str, tuple[dict[str, object], list[str]]] = {
    "no components": (words({"kind": "vamp", "components": 0}), ["components"]),
    "outside its bound": (words({"kind": "vamp", "mean": 2.0}), ["mean"]),
    "items of tokens": (words({"kind": "vamp"}, **TOKENS), []),
    "of points": (words({"kind": "mixture"}, posterior={"kind": "point"}), ["gaussian"]),
    "of one number": (
        words({"kind": "flow"}, net={"kind": "mlp", "data_shape": [5], "latent_channels": 1, "hidden": [8]}),
        [],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_go_together_is_refused_in_words(case: str) -> None:
    told, facts = BAD[case]
    assert PARTS.from_metadata is not None
    with refuses(UnknownVAE, *facts):
        PARTS.from_metadata(told)


def test_a_point_posterior_takes_the_standard_prior_where_it_is_asked_for() -> None:
    config = PartsConfig(MLPConfig((5,), 2, (8,)), PointPart(), NormalPart(), StandardPart())
    assert assemble(PARTS, config).prior == StandardNormal()  # type: ignore[arg-type]
