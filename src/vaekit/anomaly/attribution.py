"""Which elements make an item improbable: the factors of its likelihood, compared with those of normal items."""

from torch import Tensor

from vaekit.anomaly.reference import Reference
from vaekit.anomaly.scores import Evidence
from vaekit.errors import BadItem, BadPlan


def attributions(evidence: Evidence, reference: Reference | None = None) -> Tensor:
    """The contribution of each element to the abnormality of items, in nats, (b, ...); of rows, of each column.

    It is -log p(x_i|z), averaged over latents with their importance weights, minus the mean of that element over the
    reference items, so that an element that is always improbable is not blamed. Missing values contribute nothing.

    Args:
        evidence: of the items, computed with factors.
        reference: statistics of normal items; None subtracts nothing.

    Raises:
        BadPlan: the likelihood has no factors.
        BadItem: the items differ in size from the reference items.
    """
    if evidence.factors is None:
        raise BadPlan(
            "The likelihood of this VAE is not a product over elements, so that a score has no parts.",
            "Expected independent elements given the latent, such as pixels or columns.",
            "Use the score without its reasons.",
        )
    if reference is None or reference.factors is None:
        return evidence.factors
    mean = reference.factors.mean
    if evidence.factors.shape[1:] != mean.shape:
        raise BadItem(
            f"The likelihood of these items has factors of shape {list(evidence.factors.shape[1:])}.",
            f"That of the reference items has {list(mean.shape)}.",
            "Give items of the size of the reference items.",
        )
    # The factor of a missing value is exactly zero.
    return (evidence.factors - mean.to(evidence.factors)).masked_fill(evidence.factors == 0, 0)
