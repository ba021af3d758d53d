"""Terms for discrete posteriors: commitment, codebook and entropy."""

from functools import partial

import torch
from torch import Tensor

from vaekit.distributions import Quantized, Signs
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term
from vaekit.training.terms.plain import item_means


def commitment() -> Term:
    """Mean squared distance of the encoder's outputs from their codes, without a gradient for the codes (van den Oord
    et al. 2017, arXiv 1711.00937, eq. 3, third term)."""
    return Term(commitment_loss, nats=False, latents_only=True)


def commitment_loss(forward: Pass) -> PerItem:
    """|z_e - sg(e)|^2, the mean of each item, (b,)."""
    q = quantized(forward)
    return item_means((q.continuous - q.embedded.detach()).square())


def codebook() -> Term:
    """Mean squared distance of the codes from the encoder's outputs, without a gradient for the encoder (arXiv
    1711.00937, eq. 3, second term): for a codebook that is learned by gradient."""
    return Term(codebook_loss, nats=False, latents_only=True)


def codebook_loss(forward: Pass) -> PerItem:
    """|sg(z_e) - e|^2, the mean of each item, (b,)."""
    q = quantized(forward)
    return item_means((q.embedded - q.continuous.detach()).square())


def entropy(temperature: float = 0.01, diversity: float = 1.0, together: int = 10) -> Term:
    """Entropy of the code at each position minus entropy of the codes over the batch, in nats: each position should be
    certain, and all codes should be used (Yu et al. 2023, arXiv 2310.05737, eq. 6). For posteriors of signs.

    Args:
        temperature: of the softmax over squared distances.
        diversity: the weight of the entropy over the batch.
        together: the number of channels in a group whose joint entropy is computed. The entropies of several groups
            are added, which is an upper bound of the joint entropy. A group of n takes 2^n values at every position.
    """
    return Term(partial(entropy_loss, temperature, diversity, together), nats=False, latents_only=True)


def entropy_loss(temperature: float, diversity: float, together: int, forward: Pass) -> Tensor:
    """The value of `entropy`, a scalar.

    Raises:
        BadRecipe: the posterior has no signs.
    """
    q = forward.posterior
    if not isinstance(q, Signs):
        raise BadRecipe("The term entropy requires a posterior of signs.", "", 'Expected the posterior "lfq".')
    minus, plus = (each.movedim(1, -1).flatten(0, -2) for each in q.log_probabilities(temperature))
    per_position = -(minus.exp() * minus + plus.exp() * plus).sum(dim=1).mean()
    groups = zip(minus.split(together, dim=1), plus.split(together, dim=1), strict=True)
    pooled = [entropy_of(joint_probabilities(*group).mean(dim=0)) for group in groups]
    return per_position - diversity * torch.stack(pooled).sum()


def entropy_of(probabilities: Tensor) -> Tensor:
    """The entropy of a distribution in nats, with a finite gradient at probability 0, unlike `torch.special.entr`."""
    return -(probabilities * probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()).sum()


def joint_probabilities(log_minus: Tensor, log_plus: Tensor) -> Tensor:
    """The probabilities of all codes at every position, (p, 2^n), from those of n independent signs, (p, n)."""
    codes = log_minus.new_zeros(len(log_minus), 1)
    for low, high in zip(log_minus.unbind(dim=1), log_plus.unbind(dim=1), strict=True):
        codes = torch.cat([codes + low[:, None], codes + high[:, None]], dim=1)
    return codes.exp()


def quantized(forward: Pass) -> Quantized:
    """The posterior as a quantized one.

    Raises:
        BadRecipe: it is of another type.
    """
    if not isinstance(forward.posterior, Quantized):
        raise BadRecipe(
            "A term of this objective requires codes, which this posterior does not have.",
            "Commitment and codebook require a posterior that quantizes.",
            "",
        )
    return forward.posterior
