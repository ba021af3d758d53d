"""When memory runs out although the plan said that it would do: others took it, or a library needed more than told."""

import errno

import torch

SAID = ("out of memory", "can't allocate memory", "alloc_failed", "not enough memory")
"""What torch's CPU allocator, cuDNN and cuBLAS say in a RuntimeError without a class of its own, in small letters."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, whoever raised it: torch, Python, the system or CUDA's libraries."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in SAID)


def empty_cache(device: torch.device) -> None:
    """Have torch give back what it keeps of a GPU's memory and does not use: it lies in pieces of other sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def kind_of(device: torch.device) -> str:
    """What a person calls the memory of a device."""
    return "GPU memory" if device.type == "cuda" else "memory"
