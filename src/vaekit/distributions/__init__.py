"""Densities and divergences. Nothing here knows what a network, a file or a picture is."""

from vaekit.distributions.base import Likelihood, Posterior, Prior, ToPrior
from vaekit.distributions.coded import Choices, Signs
from vaekit.distributions.likelihoods import AutoregressiveCategorical, Bernoulli, Laplace, Normal, SignedBernoulli
from vaekit.distributions.mixed import GaussianAndCategoricals, NormalAndUniform
from vaekit.distributions.posteriors import DiagonalGaussian, Point, Quantised
from vaekit.distributions.priors import Always, StandardNormal, UniformCodes

__all__ = [
    "Always",
    "AutoregressiveCategorical",
    "Bernoulli",
    "Choices",
    "DiagonalGaussian",
    "GaussianAndCategoricals",
    "Laplace",
    "Likelihood",
    "Normal",
    "NormalAndUniform",
    "Point",
    "Posterior",
    "Prior",
    "Quantised",
    "SignedBernoulli",
    "Signs",
    "StandardNormal",
    "ToPrior",
    "UniformCodes",
]
