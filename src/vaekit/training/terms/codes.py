"""Terms about posteriors over codes."""

import torch
from torch import Tensor

from vaekit.distributions import Quantized, Signs
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term
from vaekit.training.terms.plain import item_means


def commitment() -> Term:
    """Mean squared distance of what the encoder said from its codes, which stand still (van den Oord et al. 2017, arXiv
    1711.00937, eq. 3, third term)."""

    def of(seen: Pass) -> PerItem:
        q = quantized(seen)
        return item_means((q.continuous - q.embedded.detach()).square())

    return Term(of, nats=False, of_latents=True)


def codebook() -> Term:
    """Mean squared distance of the codes from what the encoder said, which stands still (arXiv 1711.00937, eq. 3,
    second term): for a codebook that is learned by gradient."""

    def of(seen: Pass) -> PerItem:
        q = quantized(seen)
        return item_means((q.embedded - q.continuous.detach()).square())

    return Term(of, nats=False, of_latents=True)


def entropy(temperature: float = 0.01, diversity: float = 1.0, together: int = 10) -> Term:
    """Nats of one position's code, less those of the codes of the whole batch: each position should be sure, and all
    together should use every code (Yu et al. 2023, arXiv 2310.05737, eq. 6). For posteriors of signs.

    Args:
        temperature: of the softmax over squared distances that makes near codes likely.
        diversity: how much the entropy of the batch counts.
        together: channels whose codes are counted together; the entropies of several such groups are added, which
            bounds that of all channels from above. A group of n takes 2^n numbers at every position.
    """

    def of(seen: Pass) -> Tensor:
        q = seen.posterior
        if not isinstance(q, Signs):
            raise BadRecipe("The term entropy requires a posterior of signs.", "", 'Expected the posterior "lfq".')
        minus, plus = (each.movedim(1, -1).flatten(0, -2) for each in q.log_chances(temperature))
        alone = -(minus.exp() * minus + plus.exp() * plus).sum(dim=1).mean()
        groups = zip(minus.split(together, dim=1), plus.split(together, dim=1), strict=True)
        pooled = [surprise(joint(*group).mean(dim=0)) for group in groups]
        return alone - diversity * torch.stack(pooled).sum()

    return Term(of, nats=False, of_latents=True)


def surprise(chances: Tensor) -> Tensor:
    """The entropy of a distribution in nats, with a gradient where a chance is 0: that of `torch.special.entr` is not
    finite there."""
    return -(chances * chances.clamp(min=torch.finfo(chances.dtype).tiny).log()).sum()


def joint(log_minus: Tensor, log_plus: Tensor) -> Tensor:
    """The chances of all codes at every position, (p, 2^n), from those of its n independent signs (p, n)."""
    codes = log_minus.new_zeros(len(log_minus), 1)
    for low, high in zip(log_minus.unbind(dim=1), log_plus.unbind(dim=1), strict=True):
        codes = torch.cat([codes + low[:, None], codes + high[:, None]], dim=1)
    return codes.exp()


def quantized(seen: Pass) -> Quantized:
    """The posterior, if it is one of codes with a distance from what was said.

    Raises:
        BadRecipe: it is not.
    """
    if not isinstance(seen.posterior, Quantized):
        raise BadRecipe(
            "A term of this objective requires codes, which this posterior does not have.",
            "Commitment and codebook require a posterior that quantizes.",
            "",
        )
    return seen.posterior
