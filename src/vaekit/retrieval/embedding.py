"""The interface of embeddings: items to unit vectors whose dot product is a similarity."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vaekit.errors import BadItem, shorten
from vaekit.shapes import Items

Vectors = Float[Tensor, "b d"]
"""One unit vector per item, float32."""
SMALLEST = 1e-12
"""Vectors shorter than this have no direction."""


@runtime_checkable
class Embedding(Protocol):
    """A function from items to unit vectors."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain JSON values. Two vectors may be compared only if the identities of their embeddings are equal."""

    @property
    def dimension(self) -> int:
        """Values per vector."""

    def __call__(self, x: Items) -> Vectors:
        """Embed items (b, ...) as the VAE takes them. Images may have any size: the whole image is resized.

        A vector does not depend on the other items of the batch, up to rounding.

        Raises:
            BadItem: the vector of an item is not finite; the message gives its index in the batch.
        """


def unit_vectors(values: Tensor, source: str) -> Vectors:
    """Vectors (b, d) scaled to unit length, float32, on the CPU. Vectors of zeros become (1, ..., 1) / sqrt(d).

    Args:
        values: the vectors.
        source: what computed them, for messages: "The latent".

    Raises:
        BadItem: values are not finite.
    """
    values = values.detach().cpu().double()
    bad = (~values.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise BadItem(
            f"{source} of {len(bad)} of {len(values)} items is not finite (at {shorten(map(str, bad))} of the batch).",
            "Expected finite values.",
            "Run the VAE in fp32 and check it with `vaekit doctor`; or leave these items out.",
        )
    lengths = values.norm(dim=1, keepdim=True)
    values = values.where(lengths > SMALLEST, values.new_ones(()))
    return (values / values.norm(dim=1, keepdim=True)).float()
