"""What makes an item improbable: contributions of its elements, and what people of a domain look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaekit.distributions import Likelihood


@dataclass(frozen=True, eq=False)
class Attribution:
    """One item, and how much each of its elements contributes to its improbability."""

    name: str
    x: Tensor
    """The item as the VAE takes it, (1, ...)."""
    likelihood: Likelihood
    """p(x|z) for the mode z of its posterior."""
    nats: Tensor
    """-log p(x_i|z) of each element minus its mean over normal items, (1, ...); of rows, of each column."""
    sample: Callable[[int], Tensor]
    """A number k -> k samples of p(x|z), (k, ...)."""
    unit: float | None = None
    """The unit of the scale of maps, which few normal elements reach: three standard deviations of the contribution of
    an element of normal items. None if that is not known."""
    source: Path | None = None
    """The file of the item, if it has its own."""


@dataclass(frozen=True)
class Reason:
    """A part of an item and its contribution."""

    where: str
    """The column of a row, or the region of an image."""
    value: str
    """In the units of the data."""
    expected: str
    """The same for what the VAE expects: the mode of its likelihood."""
    nats: float
    """The contribution to -log p, compared with normal items."""
    interval: str = ""
    """The range in which a number was expected with a probability of 90 %, or the probability of the expected category;
    empty if it has none."""

    @property
    def nats_text(self) -> str:
        """The contribution with its sign; 0 has none.

        >>> Reason("a", "1", "2", -0.001).nats_text, Reason("a", "1", "2", 1.5).nats_text
        ('0.00', '+1.50')
        """
        text = f"{self.nats:+.2f}"
        return text if float(text) else text[1:]


@dataclass(frozen=True)
class Explanation:
    """The reasons for the improbability of one item."""

    name: str
    nats: float
    """The sum of the contributions of all elements."""
    reasons: Sequence[Reason]
    """The largest contributions first."""
    files: Sequence[Path] = ()
    """The files that were written."""

    def cells(self) -> list[Mapping[str, str]]:
        """The rows of a table of reasons."""
        return [
            {
                "item": self.name,
                "where": reason.where,
                "value": reason.value,
                "expected": reason.expected,
                **({"90 %": reason.interval} if reason.interval else {}),
                "nats": reason.nats_text,
            }
            for reason in self.reasons
        ]
