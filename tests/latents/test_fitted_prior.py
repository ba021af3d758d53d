"""The fitted mixture: scikit-learn's density, samples of that density, and the number of components."""

import numpy as np
import pytest
import torch

from vaekit.latents.fitted_prior import fit_mixture

mixture = pytest.importorskip("sklearn.mixture")


def two_clusters(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(count, 2, generator=generator) @ torch.tensor([[0.5, 0.2], [0.0, 0.3]])
    z[::2] += 5
    return z


def test_the_density_is_scikit_learns() -> None:
    z = two_clusters(100)  # too few to hold some out: one component or more, fitted on all
    fitted = fit_mixture(z)
    theirs = mixture.GaussianMixture(len(fitted.weights), reg_covar=1e-6, random_state=0).fit(z.double().numpy())
    expected = torch.from_numpy(theirs.score_samples(z.double().numpy())).float()
    torch.testing.assert_close(fitted.log_prob(z), expected, rtol=1e-3, atol=1e-3)


def test_two_clusters_are_found_and_sampled() -> None:
    fitted = fit_mixture(two_clusters(1000))
    assert len(fitted.weights) >= 2
    z = fitted.sample(torch.empty(4000, 2), torch.Generator().manual_seed(1))
    data = two_clusters(1000)
    np.testing.assert_allclose(z.mean(dim=0), data.mean(dim=0), atol=0.2)
    np.testing.assert_allclose(torch.cov(z.T), torch.cov(data.T), rtol=0.1, atol=0.1)


def test_samples_have_the_shape_asked_for() -> None:
    fitted = fit_mixture(two_clusters(50))
    z = fitted.sample(torch.empty(3, 2, 1, 1), torch.Generator().manual_seed(0))
    assert z.shape == (3, 2, 1, 1)
    assert fitted.log_prob(z).shape == (3,)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("distinct", [1, 3])
def test_few_distinct_latents_are_fitted_without_warnings(distinct: int) -> None:
    pytest.importorskip("sklearn")
    prior = fit_mixture(torch.arange(60.0).remainder(distinct).view(60, 1).repeat(1, 2))
    assert len(prior.weights) <= distinct
    assert prior.sample(torch.empty(4, 2)).isfinite().all()


@pytest.mark.parametrize("seed", [-1, 2**32 + 5, 10**30])
def test_any_integer_is_a_seed(seed: int) -> None:
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit_mixture(z, seed).means, fit_mixture(z, seed % 2**32).means)
