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
"""The unused memory of a fragmented heap, in bytes, from which it is trimmed."""


SHARE_OF_FREE = 0.8
"""The fraction of the free memory that a run may use without a budget."""


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def memory_bytes(text: str | int) -> int:
    """Parse a memory size such as 2GiB, 700MiB, 1.3 GB or 1073741824; returns bytes.

    >>> memory_bytes("2GiB"), memory_bytes("1.3 GB"), memory_bytes(4096)
    (2147483648, 1300000000, 4096)

    Raises:
        BadPlan: the text is not a size, or the size is zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text).lower())
    # More digits than a float can hold are infinite.
    if match is None or match[2] not in UNITS or not 1 <= (size := float(match[1]) * UNITS[match[2]]) < math.inf:
        raise BadPlan(f"{str(text)!r} is not a memory size.", "Expected a size such as 2GiB, 700MiB or 1.5GB.", "")
    return int(size)


def format_bytes(size: int | float) -> str:
    """Format a number of bytes for messages.

    >>> format_bytes(734003200), format_bytes(2.5 * 2**30)
    ('700 MiB', '2.5 GiB')
    """
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def sufficient_text(size: int | float) -> str:
    """A memory size that is not smaller, for messages: rounded up.

    >>> sufficient_text(734003201), sufficient_text(35 * 2**20), sufficient_text(2.501 * 2**30)
    ('701 MiB', '35 MiB', '2.51 GiB')
    """
    return f"{math.ceil(size / 2**20)} MiB" if size < 1000 * 2**20 else f"{math.ceil(size / 2**30 * 100) / 100:.2f} GiB"


def free_memory(device: torch.device) -> int:
    """The available memory in bytes: of a GPU, as its driver reports it; else the system's, also limited by a
    container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [each for each in (system_memory(), *container_memory()) if each is not None]
    return min(left) if left else sys.maxsize


def system_memory() -> int | None:
    """The available memory of the system in bytes; None if unknown."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text_of(Path("/proc/meminfo")), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def container_memory() -> list[int]:
    """The available memory under each limit of a container in bytes; empty without limits."""
    pairs = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    available = []
    for limit, used in pairs:
        texts = [text_of(Path("/sys/fs/cgroup") / name).strip() for name in (limit, used)]
        if all(text.isdigit() for text in texts):
            available.append(max(0, int(texts[0]) - int(texts[1])))
    return available


def text_of(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


class HeapWatch:
    """Trims the heap of the C library when much of it is fragmented.

    If large blocks are allocated and freed among small ones that stay, gaps remain into which the next large block does
    not fit: hundreds of MiB in a minute. Resident memory beyond the known allocations is attributed to such gaps.
    """

    def __init__(self) -> None:
        self._start, self._unexplained = resident_memory(), 0

    def check(self, known: int) -> None:
        """Trim the heap if the resident memory exceeds the known allocations, in bytes, by too much."""
        unexplained = resident_memory() - self._start - known
        self._unexplained = min(self._unexplained, unexplained)
        if self._start and unexplained - self._unexplained > HOLES:
            trim_heap()
            self._unexplained = resident_memory() - self._start - known


def resident_memory() -> int:
    """The resident memory of the process in bytes; 0 if unknown."""
    fields = text_of(Path("/proc/self/statm")).split()
    return int(fields[1]) * mmap.PAGESIZE if fields else 0


def trim_heap() -> None:
    """Return freed memory that the C library caches to the system, if it supports that."""
    trim = c_library_trim()
    if trim is not None:
        trim(0)


@cache
def c_library_trim() -> Callable[[int], object] | None:
    """glibc's `malloc_trim`; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


OOM_MESSAGES = ("out of memory", "can't allocate memory", "alloc_failed", "not enough memory")
"""Messages, in lower case, of the RuntimeErrors that torch's CPU allocator, cuDNN and cuBLAS raise."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, Python, the system or CUDA's libraries means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OOM_MESSAGES)


def empty_cache(device: torch.device) -> None:
    """Free unused GPU memory that torch caches in blocks of other sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_name(device: torch.device) -> str:
    """The memory of a device, for messages."""
    return "GPU memory" if device.type == "cuda" else "memory"
