"""Probability distributions: posteriors, likelihoods and priors, independent of networks, files and images."""

from vaekit.distributions.base import Factorized, Likelihood, Posterior, Prior, SampledPrior, ToPrior, expectation
from vaekit.distributions.cells import LogisticCounts, LogisticSteps, OneHot, StudentT, TwoValued
from vaekit.distributions.coded import Choices, Signs
from vaekit.distributions.columns import Columns, Group
from vaekit.distributions.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from vaekit.distributions.likelihoods import Bernoulli, Laplace, Normal, SignedBernoulli
from vaekit.distributions.mixed import GaussianAndCategoricals, NormalAndUniform
from vaekit.distributions.mixtures import GaussianMixture
from vaekit.distributions.posteriors import DiagonalGaussian, Point, Quantized
from vaekit.distributions.priors import Always, StandardNormal, UniformCodes
from vaekit.distributions.sequences import AutoregressiveCategorical
from vaekit.distributions.subscale import Subscale
from vaekit.distributions.transformed import Transformed

__all__ = [
    "Always",
    "AutoregressiveCategorical",
    "Bernoulli",
    "Choices",
    "Columns",
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Factorized",
    "GaussianAndCategoricals",
    "GaussianMixture",
    "Group",
    "Laplace",
    "Likelihood",
    "LogisticCounts",
    "LogisticSteps",
    "Normal",
    "NormalAndUniform",
    "OneHot",
    "Point",
    "Posterior",
    "Prior",
    "Quantized",
    "SampledPrior",
    "SignedBernoulli",
    "Signs",
    "StandardNormal",
    "StudentT",
    "Subscale",
    "ToPrior",
    "Transformed",
    "TwoValued",
    "UniformCodes",
    "expectation",
]
