"""Run whole networks on batches, compiled for recurring sizes: the fastest mode on a GPU.

torch.compile (inductor) fuses GroupNorm, SiLU and additions into few passes over memory and generates Triton kernels
for them, so this package has none of its own. Maps are channels_last, the layout of tensor cores. The default mode is
used: CUDA graphs would save kernel launches, which are negligible at such sizes, and keep the memory of all maps.

Each shape (items, channels, rows, columns) is compiled separately: padding an image to a common shape would change its
border, and kernels for dynamic sizes are slower. As compiling takes about half a minute, a shape is compiled only after
a few runs; until then, and for further shapes, the network runs uncompiled. Compiled and uncompiled results are equal
up to rounding, not bit for bit. Compiled code is cached for the process; torch also caches it on disk, in
`TORCHINDUCTOR_CACHE_DIR` (default: a folder in the system's temporary folder), which makes compiling the same shape of
the same network faster in the next process.

Not measured on a GPU yet.
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
"""The maximum number of compiled shapes of one network; others run uncompiled. Each holds kernels, and more shapes slow
down the lookup."""
SHAPES_COUNTED = 256
UNCOMPILED_RUNS = 2
"""The number of uncompiled runs of a shape before it is compiled: a single image should not wait for the compiler."""


class CompiledNetwork:
    """Runs a network on batches as a whole.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        rewritten: an equivalent network for the compiler.
        backend: of torch.compile.
        uncompiled_runs: the number of runs of a shape before it is compiled.
        notes: receives messages about compiled shapes and failures.
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
        self._failed = False

    def run(self, items: Tensor) -> Tensor:
        """Run the network on items (b, c, h, w); the output is contiguous.

        Raises:
            RuntimeError: memory ran out (see `out_of_memory`), or the network failed.
        """
        layout = torch.channels_last if items.dim() == 4 else torch.contiguous_format
        inputs = items.contiguous(memory_format=layout)
        shape = tuple(inputs.shape)
        output = self._try_compiled(inputs) if shape in self._ready or self._worth_compiling(shape) else None
        return (self.network(inputs) if output is None else output).contiguous()

    def _worth_compiling(self, shape: tuple[int, ...]) -> bool:
        """Count a run of a shape; returns whether it is to be compiled now."""
        if self._failed:
            return False
        if len(self._runs) >= SHAPES_COUNTED:
            self._runs.clear()
        self._runs[shape] += 1
        if self._runs[shape] <= self._uncompiled_runs:
            return False
        if len(self._ready) < SHAPES_COMPILED:
            return True
        self.notes.add(f"compiled for {SHAPES_COMPILED} sizes, the maximum: others run uncompiled")
        return False

    def _try_compiled(self, inputs: Tensor) -> Tensor | None:
        """The output of the compiled network; None if compiling fails, after which it is not tried again."""
        try:
            return self._compiled(inputs) if tuple(inputs.shape) in self._ready else self._compile(inputs)
        except Exception as error:  # a failure of the compiler must not lose an image
            if out_of_memory(error):
                raise
            self._failed = True
            self._ready.clear()
            reason = printable(str(error) or type(error).__name__)
            self.notes.add(f"the compiler failed, so the network ran uncompiled: {reason}")
            return None

    def _compile(self, inputs: Tensor) -> Tensor:
        """Compile a shape with its first run."""
        started = time.perf_counter()
        # torch caches compiled code per class, with a limit that all networks of the class share. The option has its
        # old name, which all releases accept. Warnings are for the authors of networks.
        with torch._dynamo.config.patch(cache_size_limit=1 << 16), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = self._compiled(inputs)
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
        self._ready.add(tuple(inputs.shape))
        several = f"{len(inputs)} at once of " if len(inputs) > 1 else ""
        seconds = time.perf_counter() - started
        self.notes.add(
            f"compiled for {several}{size_text(inputs.shape, output.shape)} in {seconds:.0f} s, cached for this process"
        )
        return output
