"""The plan for running a VAE: device, precision, batch size, memory and backend."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vaekit.errors import BadPlan
from vaekit.runtime.memory import memory_bytes

AUTO, TORCH, NCNN = BACKENDS = ("auto", "torch", "ncnn")


DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Plan:
    """How an engine runs a VAE. The defaults are exact: fp32, one item at a time, on a GPU where there is one."""

    device: str | None = None
    """A torch device such as "cpu" or "cuda:1"; None takes CUDA where it is available, else the CPU."""
    dtype: str = "fp32"
    """"fp32", "bf16" or "fp16": what the networks compute in. Some VAEs overflow in fp16."""
    batch_size: int = 1
    """Items that go through the networks at once, where they are run whole: on a GPU with memory enough."""
    encode_dtype: str | None = None
    """The dtype for encoding, where it is another."""
    decode_dtype: str | None = None
    """The dtype for decoding, where it is another."""
    memory: int | str | None = None
    """What encoding or decoding may take above the loaded weights: bytes, or a size such as "2GiB". None takes what is
    free and leaves some. Results are the same to rounding, whatever it is."""
    backend: str = "auto"
    """What runs the convolutions: "torch", "ncnn" (on a CPU, in fp32), or "auto" for the faster one that is there."""

    def __post_init__(self) -> None:
        for dtype in (self.dtype, self.encode_dtype, self.decode_dtype):
            if dtype is not None and dtype not in DTYPES:
                raise BadPlan(f"There is no dtype {dtype!r}.", f"Expected one of {', '.join(DTYPES)}.", "")
        if self.backend not in BACKENDS:
            raise BadPlan(f"There is no backend {self.backend!r}.", f"Expected one of {', '.join(BACKENDS)}.", "")
        if self.memory is not None:
            memory_bytes(self.memory)
        if self.batch_size < 1:
            raise BadPlan(f"Invalid batch size {self.batch_size}.", "Expected 1 or more.", "")

    @property
    def torch_encode_dtype(self) -> torch.dtype:
        return DTYPES[self.encode_dtype or self.dtype]

    @property
    def torch_decode_dtype(self) -> torch.dtype:
        return DTYPES[self.decode_dtype or self.dtype]

    @property
    def budget(self) -> int | None:
        """The memory that may be taken, in bytes; None without a limit."""
        return None if self.memory is None else memory_bytes(self.memory)

    @property
    def torch_device(self) -> torch.device:
        """The device, once it has been seen to work.

        Raises:
            BadPlan: there is no such device here.
        """
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device is None else self.device
        try:
            probe = torch.zeros(1, device=name)
            probe.item()  # the meta device makes tensors and holds no values
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
            raise BadPlan(
                f"The device {name!r} cannot be used here: {reason}.",
                "Expected a device of this machine, such as cpu.",
                "Omit the device to choose one automatically.",
            ) from error
        return probe.device  # "cuda" with its number, as weights have it


@dataclass(frozen=True)
class Explanation:
    """How one half of a VAE will run for items of one size. Memory is in bytes above the loaded weights."""

    half: str
    """"encode" or "decode"."""
    size: tuple[int, ...]
    """Of the item, along its axes: (height, width) of an image."""
    device: str
    dtype: str
    backend: str
    """What runs the convolutions that it can run; torch runs the others."""
    budget: int | None
    """What was allowed; None where the memory that is free was looked at."""
    predicted_peak: int | None
    """None for a network that can only be run as a whole."""
    prepared: int
    """Part of the peak: convolutions that stay prepared for the next image."""
    to_file: int
    """What does not fit into memory and goes to a file, at the most at a time."""
    stages: int
    """Passes over maps; 1 for a network that is run as a whole."""
    slab_rows: tuple[int, int]
    """The fewest and the most rows of a pass that are processed at once; all positions along the first axis for a
    network that is run as a whole."""


def size_text(given: Sequence[int], made: Sequence[int]) -> str:
    """The size of the images that a network takes or makes, as width x height, from its two shapes (..., h, w).

    >>> size_text((1, 4, 8, 6), (1, 3, 64, 48))
    '48x64'
    """
    height, width = max((given[-2:], made[-2:]), key=sum)
    return f"{width}x{height}"


class Notes(list[str]):
    """Notes in the order in which they came."""

    def tell(self, note: str) -> None:
        """Note something once."""
        if note not in self:
            self.append(note)
