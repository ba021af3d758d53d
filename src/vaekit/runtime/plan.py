"""The plan for running a VAE: device, precision, batch size, memory and backend."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.memory import memory_bytes

Planned = TypeVar("Planned")

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
    """The settings of an engine. The defaults are exact: fp32, one item at a time, on a GPU if available."""

    device: str | None = None
    """A torch device such as "cpu" or "cuda:1"; None for CUDA if available, else the CPU."""
    dtype: str = "fp32"
    """"fp32", "bf16" or "fp16": the dtype of the networks. Some VAEs overflow in fp16."""
    batch_size: int = 1
    """The number of items per batch if networks run whole: on a GPU with enough memory."""
    encode_dtype: str | None = None
    """The dtype for encoding; None for `dtype`."""
    decode_dtype: str | None = None
    """The dtype for decoding; None for `dtype`."""
    memory: int | str | None = None
    """The memory limit for encoding or decoding one item: bytes, or a size such as "2GiB". None for most of the free
    memory. Results are equal up to rounding for any limit.

    It includes the item in fp32 and its copies that are padded or in another dtype, the latents, the result in fp32,
    all maps and buffers between them, convolutions that stay prepared for the next item, and 32 MiB for code and small
    objects. It excludes the loaded weights, other items that the caller keeps, and reading, measuring and writing
    files."""
    backend: str = "auto"
    """The backend for convolutions: "torch", "ncnn" (on a CPU, in fp32), or "auto" for the faster available one."""

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
        """The memory limit in bytes; None without a limit."""
        return None if self.memory is None else memory_bytes(self.memory)

    @property
    def torch_device(self) -> torch.device:
        """The device, after checking that it works.

        Raises:
            BadPlan: the device is not available.
        """
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device is None else self.device
        try:
            probe = torch.zeros(1, device=name)
            probe.item()  # fails on the meta device, which holds no values
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
            raise BadPlan(
                f"The device {name!r} cannot be used here: {reason}.",
                "Expected a device of this machine, such as cpu.",
                "Omit the device to choose one automatically.",
            ) from error
        return probe.device  # "cuda" with its index, as weights have it


@dataclass(frozen=True)
class Explanation:
    """How one half of a VAE will run for items of one size. Memory is in bytes, without the loaded weights."""

    half: str
    """"encode" or "decode"."""
    size: tuple[int, ...]
    """The size of the item along its axes: (height, width) of an image."""
    device: str
    dtype: str
    backend: str
    """The backend for convolutions; torch runs those that it does not support."""
    budget: int | None
    """The memory limit; None if the free memory was used as the limit."""
    predicted_peak: int | None
    """The peak of everything that a memory limit includes, see `Plan.memory`; None for a network that can only run
    whole."""
    prepared: int
    """Part of the peak: convolutions that stay prepared for the next image."""
    to_file: int
    """The maximum size of maps that are stored in a file at a time, because they do not fit into memory."""
    stages: int
    """The number of passes over maps; 1 for a network that runs whole."""
    slab_rows: tuple[int, int]
    """The minimum and maximum over all passes of the rows that are processed at a time; all positions along the first
    axis for a network that runs whole."""
    whole_values: int = 0
    """Part of the peak: values that steps need at all positions, such as the keys of an attention or the input of an
    LSTM; 0 if results depend on a limited range of positions only, so that items of any length can be streamed."""


def all_planned(plans: Iterable[Callable[[], Planned]]) -> list[Planned]:
    """The results of several plans that one budget must be sufficient for.

    Raises:
        TooLittleMemory: one is refused. Of several refusals, the one that names the largest budget is raised.
    """
    results, refusals = [], []
    for plan in plans:
        try:
            results.append(plan())
        except TooLittleMemory as refusal:
            refusals.append(refusal)
    if refusals:
        raise max(refusals, key=lambda refusal: refusal.least)
    return results


def size_text(input_shape: Sequence[int], output_shape: Sequence[int]) -> str:
    """The size of the items that a network takes or returns, from its shapes (b, c, *size): width x height of images.

    >>> size_text((1, 4, 8, 6), (1, 3, 64, 48)), size_text((1, 4, 8), (1, 1, 2048))
    ('48x64', '2048')
    """
    size: Sequence[int] = max((input_shape[2:], output_shape[2:]), key=lambda each: sum(each))
    return "x".join(map(str, reversed(size)))


class Notes(list[str]):
    """Distinct notes in order."""

    def add(self, note: str) -> None:
        """Append a note unless it exists already."""
        if note not in self:
            self.append(note)
