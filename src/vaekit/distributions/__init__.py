"""Densities and divergences. Nothing here knows what a network, a file or a picture is."""

from vaekit.distributions.base import Likelihood, Posterior, Prior, SampledPrior, ToPrior
from vaekit.distributions.coded import Choices, Signs
from vaekit.distributions.columns import Columns
from vaekit.distributions.discretized import DiscretisedLogistic, DiscretisedLogisticMixture
from vaekit.distributions.likelihoods import AutoregressiveCategorical, Bernoulli, Laplace, Normal, SignedBernoulli
from vaekit.distributions.mixed import GaussianAndCategoricals, NormalAndUniform
from vaekit.distributions.mixtures import GaussianMixture
from vaekit.distributions.posteriors import DiagonalGaussian, Point, Quantised
from vaekit.distributions.priors import Always, StandardNormal, UniformCodes
from vaekit.distributions.transformed import Transformed

__all__ = [
    "Always",
    "AutoregressiveCategorical",
    "Bernoulli",
    "Choices",
    "Columns",
    "DiagonalGaussian",
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "GaussianAndCategoricals",
    "GaussianMixture",
    "Laplace",
    "Likelihood",
    "Normal",
    "NormalAndUniform",
    "Point",
    "Posterior",
    "Prior",
    "Quantised",
    "SampledPrior",
    "SignedBernoulli",
    "Signs",
    "StandardNormal",
    "ToPrior",
    "Transformed",
    "UniformCodes",
]
