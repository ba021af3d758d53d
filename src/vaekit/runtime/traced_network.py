"""A network with its trace, lowered for each size on demand."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from torch import Tensor, nn

from vaekit.runtime.plan import size_text
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import Stages, staged
from vaekit.runtime.streaming.tracing import PLANES, NotTraceable, Sizes, Trace, trace

CACHED_SIZES = 8


class TracedNetwork:
    """A network with the trace of its operations.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        make_input: rows and columns of a latent -> an input of that size; None for a network that is not traced.
        sizes: rows and columns of the latents for tracing.
    """

    def __init__(
        self, network: nn.Module, make_input: Callable[[int, int], Tensor] | None, sizes: Sizes = PLANES
    ) -> None:
        self.network = network
        self._traced_sizes = sizes
        example = make_input(*sizes[0]) if make_input is not None else next(network.parameters())
        self.device, self.dtype = example.device, example.dtype
        self.names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
        self._make_input = make_input
        self._tried = False
        self._trace: Trace | None = None
        self._sizes: OrderedDict[tuple[int, int], Stages] = OrderedDict()

    @property
    def is_traceable(self) -> bool:
        """Whether the network could be traced, so that it can be streamed."""
        if not self._tried and self._make_input is not None:
            self._tried = True
            with suppress(NotTraceable):
                self._trace = trace(self.network, self._make_input, self._traced_sizes)
        return self._trace is not None

    @property
    def trace(self) -> Trace:
        """The trace of a traceable network."""
        assert self.is_traceable and self._trace is not None
        return self._trace

    def stages(self, size: tuple[int, int]) -> Stages:
        """The lowered steps for an item of this size."""
        if size not in self._sizes:
            self._sizes[size] = staged(*lower(self.trace, *size, self.names), self.trace.has_columns)
            if len(self._sizes) > CACHED_SIZES:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(size)
        return self._sizes[size]

    def item_size(self, size: tuple[int, int]) -> str:
        """The size of the items that it takes or returns, as text."""
        stages = self.stages(size)
        return size_text(stages.steps[0].shape, stages.steps[stages.output].shape)
