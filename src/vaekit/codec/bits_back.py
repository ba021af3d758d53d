"""Bits-back coding: items as the latent variables of a VAE and what they leave open."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.cells import Cells, Decision, push_decisions
from vaekit.codec.coder import DATA, POSTERIOR, Coder, bits_of, part
from vaekit.codec.rounding import Recording, Rounding
from vaekit.codec.types import Integers


@runtime_checkable
class Steps(Protocol):
    """A distribution of items as a sequence of steps, each with variables that are independent given those before."""

    def cells(self, before: Sequence[Integers]) -> Cells | None:
        """The distribution of the step after some, given their cells; None after the last one."""

    def divide(self, x: Tensor) -> list[Integers]:
        """The cells of items (b, ...), step by step."""

    def join(self, values: Sequence[Integers]) -> Tensor:
        """The inverse."""


@runtime_checkable
class LatentPrior(Protocol):
    """p(z) of the cells of latents. It may code them by way of other variables, which cost nothing (bits back)."""

    def push(self, coder: Coder, latent: Integers, batch: int) -> None:
        """Push the cells of the latents of a batch of items, (n,)."""

    def pop(self, coder: Coder, batch: int) -> Integers:
        """The inverse."""


@runtime_checkable
class Coding(Protocol):
    """The three distributions that items are coded by, in batches. All are in double precision."""

    def canonical(self, x: Tensor) -> Tensor:
        """Items (b, ...) as `Steps.join` returns them, to the last digit."""

    def plain(self, x: Tensor) -> bytes:
        """The cells of items as bytes."""

    def from_plain(self, content: bytes, items: int) -> Tensor:
        """The inverse, for a number of items.

        Raises:
            ValueError: the bytes are not of as many items.
        """

    def posterior(self, x: Tensor) -> Cells | None:
        """q(z|x) of items (b, ...); None if items determine their latents."""

    def mode(self, x: Tensor) -> Integers:
        """The cells with the most probable latents."""

    @property
    def prior(self) -> LatentPrior:
        """p(z)."""

    def likelihood(self, latent: Integers, batch: int) -> Steps:
        """p(x|z) for the cells of latents."""


def push_items(stack: BitStack, coding: Coding, batches: Sequence[Tensor], rounding: Rounding) -> float:
    """Push batches of items (b, ...) onto an empty stack, so that `pop_items` returns them in their order.

    Each batch takes the bits of a sample of q(z|x) from the stack, then adds x by p(x|z), and z by p(z): all in all its
    negative ELBO (Townsend et al. 2019, arXiv 1901.04866). The last batch, which is the first one on the stack, finds
    no bits there and has the mode of q(z|x) as its latent.

    Returns:
        The initial bits: those of the latents of the last batch by q(z|x), which it could not take from the stack.
    """
    initial = 0.0
    for number in reversed(range(len(batches))):
        coder, x = Coder(stack, rounding, number), coding.canonical(batches[number])
        posterior = coding.posterior(x)
        if posterior is None:
            latent = coding.mode(x)
        elif number == len(batches) - 1:
            latent = coding.mode(x)
            initial = bits_of(Coder(stack, Recording(), number).decisions(posterior, latent, part(POSTERIOR)))
        else:
            latent = coder.pop(posterior, part(POSTERIOR))
        _push_data(coder, coding.likelihood(latent, len(x)), x)
        coding.prior.push(coder, latent, len(x))
    return initial


def _push_data(coder: Coder, steps: Steps, x: Tensor) -> None:
    """Push items by p(x|z). Distributions are computed in the order of the reader, which may depend on it."""
    made = list[Decision]()
    for step, values in enumerate(parts := steps.divide(x)):
        cells = steps.cells(parts[:step])
        assert cells is not None, "there are as many steps as parts"
        made += coder.decisions(cells, values, part(DATA, step))
    push_decisions(coder.stack, made)


def pop_items(stack: BitStack, coding: Coding, sizes: Sequence[int], rounding: Rounding) -> Iterator[Tensor]:
    """Pop batches of items of these sizes; the stack is empty afterwards."""
    for number, size in enumerate(sizes):
        coder = Coder(stack, rounding, number)
        latent = coding.prior.pop(coder, size)
        steps, parts = coding.likelihood(latent, size), list[Integers]()
        while (cells := steps.cells(parts)) is not None:
            parts.append(coder.pop(cells, part(DATA, len(parts))))
        x = steps.join(parts)
        if number < len(sizes) - 1 and (posterior := coding.posterior(x)) is not None:
            coder.push(posterior, latent, part(POSTERIOR))
        yield x
