"""Terms for sequences of tokens."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.distributions.sequences import before_padding
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term


@runtime_checkable
class HasBag(Protocol):
    """A likelihood head that can predict the tokens of a sequence in any order."""

    def bag_logits(self, context: Tensor) -> Tensor | None:
        """Contexts (b, c) -> logits (b, vocabulary); None if it was built without."""


def bag_of_tokens() -> Term:
    """-sum_t log p(x_t|z) of the tokens in any order, from the latent alone (Zhao et al. 2017, arXiv 1703.10960,
    section 3.3): a latent that says nothing costs nats here, even if the decoder can do without it."""
    return Term(bag_nll, nats=True)


def bag_nll(forward: Pass) -> PerItem:
    """The cross-entropy of each item, (b,).

    Raises:
        BadRecipe: the likelihood has no such output.
    """
    vae, x = forward.vae, forward.x
    head: object = vae.to_likelihood
    logits = head.bag_logits(vae.decoder(forward.z)) if isinstance(head, HasBag) and vae.decoder is not None else None
    if logits is None:
        raise BadRecipe(
            "The term bag_of_tokens needs an output of its own, which this VAE does not have.",
            "Expected a likelihood of tokens with one.",
            "Set vae.likelihood.bag=true.",
        )
    with torch.autocast(x.device.type, enabled=False):
        nats = -F.log_softmax(logits.float(), dim=1).gather(1, x)
    return (nats * before_padding(x)).sum(dim=1)
