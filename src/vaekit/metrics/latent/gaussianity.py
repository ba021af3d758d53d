"""The distance of the aggregate posterior from the prior, and the number of directions that latents use."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

Mean = Float[Tensor, "z"]
Covariance = Float[Tensor, "z z"]
MOST = 0.95
"""The share of the variance that `components` explains."""


def kl_to_standard_normal(mean: Mean, covariance: Covariance) -> float:
    """KL(N(mean, covariance) || N(0, I)) in nats per dimension.

        KL / z = ( tr S + m . m - z - ln det S ) / 2z

    With the mean m and covariance S of the aggregate posterior q(z) = E_x q(z|x) it is a lower bound of its KL
    divergence from N(0, I): of all densities with these moments, the Gaussian is nearest. (The aggregate posterior is
    that of Makhzani et al. 2016, arXiv 1511.05644; the term in the ELBO that Hoffman and Johnson 2016, "ELBO surgery",
    call the marginal KL.) 0 for N(0, I), where the VAE can be sampled from its prior. Infinite for a singular
    covariance.

    >>> kl_to_standard_normal(torch.tensor([1.0]), torch.eye(1))
    0.5
    """
    mean, covariance = mean.double(), covariance.double()
    sign, log_determinant = torch.linalg.slogdet(covariance)
    if sign <= 0:
        return math.inf
    whole = covariance.trace() + mean.square().sum() - len(mean) - log_determinant
    return max(0.0, whole.item() / (2 * len(mean)))


def effective_dimension(covariance: Covariance) -> float:
    """The participation ratio of the eigenvalues of a covariance: 1 if all variance is along one direction, z if it is
    the same along all. NaN without variance.

        (sum_i l_i)^2 / sum_i l_i^2 = (tr S)^2 / tr S^2

    (Gao et al. 2017, "A theory of multineuronal dimensionality", bioRxiv 214262.) It does not depend on scale or
    rotation.

    >>> effective_dimension(torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    2.0
    """
    covariance = covariance.double()
    return (covariance.trace().square() / covariance.square().sum()).item()


def components(covariance: Covariance, share: float = MOST) -> int:
    """The least number of principal components with this share of the variance.

    >>> components(torch.diag(torch.tensor([90.0, 6.0, 4.0])))
    2
    """
    values = torch.linalg.eigvalsh(covariance.double()).clamp(min=0).flip(0)
    reached = values.cumsum(0) >= share * values.sum() * (1 - 1e-12)
    return int(reached.double().argmax()) + 1
