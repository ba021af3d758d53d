"""Run whole networks on batches, compiled for recurring sizes: the fastest mode on a GPU.

torch.compile (inductor) fuses GroupNorm, SiLU and additions into few passes over memory by itself, and writes Triton
kernels for them; so none are written here. Maps are channels_last, as tensor cores want them. Its default mode is used:
CUDA graphs save launches, which are nothing beside the work at such sizes, and would hold the memory of all maps.

Each shape (items, channels, rows, columns) is compiled on its own: an image that is padded to share a shape with
others comes out otherwise near its border, and kernels for any size are slower. Compiling takes half a minute or so, so
that a shape has to come a few times first; until then, and where many shapes come, the network runs as it is. So what
an image becomes before and after is the same to rounding, not to the last bit. What is compiled is kept for the
process. torch also keeps code and kernels on disk, in `TORCHINDUCTOR_CACHE_DIR` (else a folder in the system's
temporary folder), so that the same shape of the same network takes less in the next process.

Nothing here was measured on a GPU yet.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.errors import printable
from vaekit.runtime.memory import out_of_memory
from vaekit.runtime.plan import Notes, size_text

SHAPES_COMPILED = 8
"""Of one network; others run as they are. Each holds kernels, and looking for the right one takes time."""
SHAPES_COUNTED = 256
UNCOMPILED_RUNS = 2
"""How often a shape runs as it is before it is compiled: who does one image need not wait for a compiler."""


class CompiledNetwork:
    """Runs a network on batches as a whole.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        rewritten: the same network as the compiler is to see it.
        backend: of torch.compile.
        uncompiled_runs: how often a shape runs as it is first.
        notes: for messages about what was compiled, and what could not be.
    """

    def __init__(
        self,
        network: nn.Module,
        rewritten: nn.Module | None = None,
        backend: str | Callable[..., Any] = "inductor",
        uncompiled_runs: int = UNCOMPILED_RUNS,
        notes: Notes | None = None,
    ) -> None:
        self.network = network
        self._uncompiled_runs = uncompiled_runs
        self._compiled = torch.compile(rewritten or network, dynamic=False, fullgraph=True, backend=backend)
        self._runs: Counter[tuple[int, ...]] = Counter()
        self._ready: set[tuple[int, ...]] = set()
        self.notes = Notes() if notes is None else notes
        self._gave_up = False

    def run(self, items: Tensor) -> Tensor:
        """What the network makes of items (b, c, h, w), contiguous.

        Raises:
            RuntimeError: memory ran out (see `out_of_memory`), or the network failed.
        """
        given = items.contiguous(memory_format=torch.channels_last)
        shape = tuple(given.shape)
        made = self._try_compiled(given) if shape in self._ready or self._worth_compiling(shape) else None
        return (self.network(given) if made is None else made).contiguous()

    def _worth_compiling(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape, of which another run begins, has come often enough to be compiled now."""
        if self._gave_up:
            return False
        if len(self._runs) >= SHAPES_COUNTED:
            self._runs.clear()
        self._runs[shape] += 1
        if self._runs[shape] <= self._uncompiled_runs:
            return False
        if len(self._ready) < SHAPES_COMPILED:
            return True
        self.notes.tell(f"compiled for {SHAPES_COMPILED} sizes, the maximum: others run uncompiled")
        return False

    def _try_compiled(self, given: Tensor) -> Tensor | None:
        """What the compiled network makes; None where there is none, now and from now on."""
        try:
            return self._compiled(given) if tuple(given.shape) in self._ready else self._compile(given)
        except Exception as error:  # compilers fail in many ways, of which none should cost an image
            if out_of_memory(error):
                raise
            self._gave_up = True
            self._ready.clear()
            reason = printable(str(error) or type(error).__name__)
            self.notes.tell(f"the compiler failed, so the network ran uncompiled: {reason}")
            return None

    def _compile(self, given: Tensor) -> Tensor:
        """The first run of a shape, in which it is compiled."""
        started = time.perf_counter()
        # torch keeps what it compiles at the code of a class, with a limit (by its old name, which all releases know)
        # that all networks of that class share. Warnings are for the authors of networks.
        with torch._dynamo.config.patch(cache_size_limit=1 << 16), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self._compiled(given)
        if given.device.type == "cuda":
            torch.cuda.synchronize(given.device)
        self._ready.add(tuple(given.shape))
        several = f"{len(given)} at once of " if len(given) > 1 else ""
        seconds = time.perf_counter() - started
        self.notes.tell(
            f"compiled for {several}{size_text(given.shape, made.shape)} in {seconds:.0f} s, cached for this process"
        )
        return made
