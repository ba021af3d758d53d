"""A network with its trace, lowered for each size on demand."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from torch import Tensor, nn

from vaekit.runtime.plan import size_text
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import Stages, staged
from vaekit.runtime.streaming.tracing import SMALL, NotTraceable, Trace, trace

SIZES_REMEMBERED = 8


class TracedNetwork:
    """A network beside the list of what it does.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        make_input: rows and columns of a latent -> an input of the network for it; None for a network of one size.
    """

    def __init__(self, network: nn.Module, make_input: Callable[[int, int], Tensor] | None) -> None:
        self.network = network
        given = make_input(*SMALL) if make_input is not None else next(network.parameters())
        self.device, self.dtype = given.device, given.dtype
        self.names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
        self._make_input = make_input
        self._watched = False
        self._trace: Trace | None = None
        self._sizes: OrderedDict[tuple[int, int], Stages] = OrderedDict()

    @property
    def known(self) -> bool:
        """Whether it is known what the network does, so that it can be run in parts."""
        if not self._watched and self._make_input is not None:
            self._watched = True
            with suppress(NotTraceable):
                self._trace = trace(self.network, self._make_input)
        return self._trace is not None

    @property
    def trace(self) -> Trace:
        """What was written down, of a network that is known."""
        assert self.known and self._trace is not None
        return self._trace

    def stages(self, size: tuple[int, int]) -> Stages:
        """What will be run for an item of this size."""
        if size not in self._sizes:
            self._sizes[size] = staged(*lower(self.trace, *size, self.names))
            if len(self._sizes) > SIZES_REMEMBERED:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(size)
        return self._sizes[size]

    def size_words(self, size: tuple[int, int]) -> str:
        """The size of the images that it takes or makes, in words."""
        stages = self.stages(size)
        return size_text(stages.steps[0].shape, stages.steps[stages.output].shape)
