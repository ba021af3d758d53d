"""Parse memory sizes, and query the available memory."""

import ctypes
import errno
import math
import mmap
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from vaekit.errors import BadPlan

HOLES = 32 << 20
"""How much may be left in holes of the heap before it is given back."""


SHARE_OF_FREE = 0.8
"""Without a budget, a run may take so much of the memory that is free; the rest is headroom."""


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def memory_bytes(text: str | int) -> int:
    """A size as a person writes it, in bytes: 2GiB, 700MiB, 1.3 GB, 1073741824.

    >>> memory_bytes("2GiB"), memory_bytes("1.3 GB"), memory_bytes(4096)
    (2147483648, 1300000000, 4096)

    Raises:
        BadPlan: it is no size, or none above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text).lower())
    # More digits than a float can hold are infinite.
    if match is None or match[2] not in UNITS or not 1 <= (size := float(match[1]) * UNITS[match[2]]) < math.inf:
        raise BadPlan(f"{str(text)!r} is not a memory size.", "Expected a size such as 2GiB, 700MiB or 1.5GB.", "")
    return int(size)


def format_bytes(size: int | float) -> str:
    """Bytes as a person reads them.

    >>> format_bytes(734003200), format_bytes(2.5 * 2**30)
    ('700 MiB', '2.5 GiB')
    """
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken now: of a GPU what its driver says is free, of a CPU what the system and, in a container,
    its limit leave."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [each for each in (system_memory(), *container_memory()) if each is not None]
    return min(left) if left else sys.maxsize


def system_memory() -> int | None:
    """What the system can give, in bytes; None where it does not tell."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text_of(Path("/proc/meminfo")), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def container_memory() -> list[int]:
    """What the limits of a container leave, in bytes; empty without any."""
    pairs = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    found = []
    for limit, used in pairs:
        texts = [text_of(Path("/sys/fs/cgroup") / name).strip() for name in (limit, used)]
        if all(text.isdigit() for text in texts):
            found.append(max(0, int(texts[0]) - int(texts[1])))
    return found


def text_of(path: Path) -> str:
    """What is in a file; nothing where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


class HeapWatch:
    """Gives memory back that the C library keeps in pieces, when it has become much.

    Where large pieces come and go among small ones that stay, holes are left that the next large piece does not fit
    into: hundreds of MiB in a minute. What a process takes beyond what it knows of is such holes.
    """

    def __init__(self) -> None:
        self._start, self._unexplained = resident_memory(), 0

    def look(self, known: int) -> None:
        """See how much is taken beyond what is known of, in bytes, and give back what can be."""
        unexplained = resident_memory() - self._start - known
        self._unexplained = min(self._unexplained, unexplained)
        if self._start and unexplained - self._unexplained > HOLES:
            give_back()
            self._unexplained = resident_memory() - self._start - known


def resident_memory() -> int:
    """What the process has of the machine's memory, in bytes; 0 where the system does not tell."""
    fields = text_of(Path("/proc/self/statm")).split()
    return int(fields[1]) * mmap.PAGESIZE if fields else 0


def give_back() -> None:
    """Let the C library give memory that it keeps for later back to the system, where it can."""
    trim = c_library_trim()
    if trim is not None:
        trim(0)


@cache
def c_library_trim() -> Callable[[int], object] | None:
    """glibc's function for that; None with another library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


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
