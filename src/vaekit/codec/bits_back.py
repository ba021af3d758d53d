"""Bits-back coding: items as the latent variables of a VAE and what they leave open."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.cells import Cells, Decision, decisions, pop_cells, push_decisions
from vaekit.codec.rounding import Place, Rounding
from vaekit.codec.types import Integers

PRIOR, POSTERIOR, DATA = range(3)
"""The parts of the coding of a batch; of its data, each step is a part, from the last number on."""


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
class Coding(Protocol):
    """The three distributions that items are coded by, for batches. All are in double precision."""

    def canonical(self, x: Tensor) -> Tensor:
        """Items (b, ...) as `Steps.join` returns them, to the last digit."""

    def plain(self, x: Tensor) -> bytes:
        """The cells of items as bytes."""

    def from_plain(self, content: bytes, items: int) -> Tensor:
        """The inverse, for a number of items.

        Raises:
            ValueError: the bytes are not of as many items.
        """

    def posterior(self, x: Tensor) -> Cells:
        """q(z|x) of items (b, ...)."""

    def mode(self, x: Tensor) -> Integers:
        """The cells with the most probable latents."""

    def prior(self, batch: int) -> Cells:
        """p(z)."""

    def likelihood(self, latent: Integers, batch: int) -> Steps:
        """p(x|z) for the cells of latents."""


def push_items(stack: BitStack, coding: Coding, batches: Sequence[Tensor], rounding: Rounding) -> None:
    """Push batches of items (b, ...) onto an empty stack, so that `pop_items` returns them in their order.

    Each batch takes the bits of a sample of q(z|x) from the stack, then adds x by p(x|z), and z by p(z): all in all its
    negative ELBO (Townsend et al. 2019, arXiv 1901.04866). The last batch, which is the first one on the stack, finds
    no bits there and has the mode of q(z|x) as its latent.
    """
    for number in reversed(range(len(batches))):
        x = coding.canonical(batches[number])
        if number == len(batches) - 1:
            latent = coding.mode(x)
        else:
            latent = pop_cells(stack, coding.posterior(x), rounding, Place(number, POSTERIOR, 0))
        steps, data = coding.likelihood(latent, len(x)), list[Decision]()
        for step, values in enumerate(parts := steps.divide(x)):
            cells = steps.cells(parts[:step])
            assert cells is not None, "there are as many steps as parts"
            data += decisions(cells, values, rounding, Place(number, DATA + step, 0))
        push_decisions(stack, data)
        push_decisions(stack, decisions(coding.prior(len(x)), latent, rounding, Place(number, PRIOR, 0)))


def pop_items(stack: BitStack, coding: Coding, sizes: Sequence[int], rounding: Rounding) -> Iterator[Tensor]:
    """Pop batches of items of these sizes; the stack is empty afterwards."""
    for number, size in enumerate(sizes):
        latent = pop_cells(stack, coding.prior(size), rounding, Place(number, PRIOR, 0))
        steps, parts = coding.likelihood(latent, size), list[Integers]()
        while (cells := steps.cells(parts)) is not None:
            parts.append(pop_cells(stack, cells, rounding, Place(number, DATA + len(parts), 0)))
        x = steps.join(parts)
        if number < len(sizes) - 1:
            push_decisions(stack, decisions(coding.posterior(x), latent, rounding, Place(number, POSTERIOR, 0)))
        yield x
