"""Memory sizes, available memory, and errors that mean out of memory."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from vaekit.errors import BadPlan
from vaekit.runtime import memory
from vaekit.runtime.memory import (
    HOLES,
    HeapWatch,
    c_library_trim,
    container_memory,
    empty_cache,
    format_bytes,
    free_memory,
    memory_bytes,
    memory_name,
    out_of_memory,
    resident_memory,
    sufficient_text,
    system_memory,
    text_of,
    trim_heap,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MIB = 2**20


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("700 MiB", 700 << 20),
        ("1.5gb", 1_500_000_000),
        ("3k", 3000),
        ("3Ki", 3072),
        ("1 T", 10**12),
        ("1tib", 1 << 40),
        ("  5 m  ", 5_000_000),
        ("12b", 12),
        ("12", 12),
        (4096, 4096),
        ("0.5KiB", 512),
        ("1.0001k", 1000),
    ],
)
def test_sizes_as_people_write_them(text: str | int, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-2GiB", "+2", "0", 0, -5, "0.0001", "1,5GB", "1e9", "2 2GiB", "2iB", "2PiB", "2GiBs", "nan"],
)
def test_other_text_is_no_size(text: str | int) -> None:
    with refuses(BadPlan, "2GiB", *([text] if str(text).isalnum() else [])):
        memory_bytes(text)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 300 + "TiB", "1" + "0" * 5000])
def test_more_digits_than_a_number_can_have_are_no_size(text: str) -> None:
    with pytest.raises(BadPlan):
        memory_bytes(text)


@given(st.integers(1, 10**15))
def test_any_number_of_bytes_is_a_size(size: int) -> None:
    assert memory_bytes(size) == memory_bytes(str(size)) == memory_bytes(f"{size}B") == size


@given(st.integers(2**20, 2**45))
def test_a_sufficient_size_is_not_smaller_as_written(size: int) -> None:
    written = memory_bytes(sufficient_text(size))
    assert size <= written <= max(size + 2**20, 1.011 * size)


def test_bytes_are_written_in_units_that_people_read() -> None:
    assert format_bytes(0) == "0 MiB"
    assert format_bytes(1023 * MIB) == "1023 MiB"
    assert format_bytes(1 << 30) == "1.0 GiB"
    assert format_bytes(1.25 * 2**40) == "1280.0 GiB"


# What is free


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that tell of memory, by their paths; those that are not named are not there."""
    contents: dict[str, str] = {}
    monkeypatch.setattr(memory, "text_of", lambda path: contents.get(path.as_posix(), ""))
    return contents


MEMINFO, STATM, GROUPS = "/proc/meminfo", "/proc/self/statm", "/sys/fs/cgroup"


def test_the_memory_of_the_system_is_what_it_calls_available(files: dict[str, str]) -> None:
    files[MEMINFO] = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:   5000 kB\nBuffers: 1 kB\n"
    assert system_memory() == free_memory(CPU) == 5000 * 1024


@pytest.mark.parametrize("text", ["", "MemTotal: 100 kB\n", "MemAvailable: many kB\n"])
def test_unknown_memory_means_no_limit(files: dict[str, str], text: str) -> None:
    files[MEMINFO] = text
    assert system_memory() is None
    assert free_memory(CPU) > 1 << 60


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_the_limit_of_a_container_counts_if_it_is_smaller(files: dict[str, str], limit: str, used: str) -> None:
    files[MEMINFO] = "MemAvailable: 5000 kB\n"
    files[f"{GROUPS}/{limit}"], files[f"{GROUPS}/{used}"] = "3000000\n", "1000000\n"
    assert container_memory() == [2000000] and free_memory(CPU) == 2000000
    files[f"{GROUPS}/{limit}"] = str(1 << 62)
    assert free_memory(CPU) == 5000 * 1024
    files[f"{GROUPS}/{limit}"] = "999\n"  # more is used than is allowed
    assert free_memory(CPU) == 0
    files[f"{GROUPS}/{limit}"] = "max\n"
    assert container_memory() == []


def test_a_gpu_has_what_its_driver_and_torch_have_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 9999))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    assert free_memory(CUDA) == 1200


def test_files_that_are_not_there_are_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12\n")
    assert (text_of(tmp_path / "file"), text_of(tmp_path / "none"), text_of(tmp_path)) == ("12\n", "", "")


def test_resident_memory_is_the_second_field_in_pages(files: dict[str, str]) -> None:
    files[STATM] = "900 7 3 1 0 2 0\n"
    assert resident_memory() == 7 * memory.mmap.PAGESIZE
    files[STATM] = ""
    assert resident_memory() == 0


@pytest.mark.skipif(not Path(STATM).exists(), reason="this system does not tell what a process takes")
def test_a_process_takes_what_it_has_touched() -> None:
    before = resident_memory()
    held = torch.ones(16 << 20, dtype=torch.uint8)
    assert 15 << 20 < resident_memory() - before < 64 << 20
    assert held.sum() == 16 << 20


# Memory that goes back


class Process:
    """What a process takes, and how often it gave memory back."""

    def __init__(self) -> None:
        self.resident = 100 * MIB
        self.holes = 0
        self.given_back = 0

    def trim_heap(self) -> None:
        self.given_back += 1
        self.holes = 0


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    made = Process()
    monkeypatch.setattr(memory, "resident_memory", lambda: made.resident + made.holes)
    monkeypatch.setattr(memory, "trim_heap", made.trim_heap)
    return made


def test_memory_that_is_known_of_is_no_hole(process: Process) -> None:
    watch = HeapWatch()
    process.resident += 500 * MIB
    watch.check(500 * MIB)
    watch.check(500 * MIB)
    assert process.given_back == 0


def test_holes_go_back_once_they_are_large(process: Process) -> None:
    watch = HeapWatch()
    watch.check(0)
    process.holes = HOLES
    watch.check(0)
    assert process.given_back == 0
    process.holes = HOLES + 1
    watch.check(0)
    assert process.given_back == 1
    watch.check(0)
    assert process.given_back == 1


def test_holes_are_counted_from_the_least_that_was_unexplained(process: Process) -> None:
    watch = HeapWatch()
    process.resident -= 60 * MIB  # something that was there at first has gone
    watch.check(0)
    process.holes = 40 * MIB
    watch.check(0)
    assert process.given_back == 1


def test_what_does_not_go_back_is_not_asked_for_again(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(memory, "trim_heap", lambda: asked.append(True))
    watch = HeapWatch()
    process.holes = 2 * HOLES
    for _ in range(3):
        watch.check(0)
    assert asked == [True]


def test_unknown_resident_memory_gives_nothing_back(process: Process) -> None:
    process.resident = 0
    watch = HeapWatch()
    process.resident = 10 * HOLES
    watch.check(0)
    assert process.given_back == 0


@pytest.fixture
def no_trim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """Puts another C library in place."""
    c_library_trim.cache_clear()
    yield lambda library: monkeypatch.setattr(memory.ctypes, "CDLL", library)
    c_library_trim.cache_clear()


def test_a_c_library_that_keeps_its_memory_is_left_alone(no_trim: Callable[[object], None]) -> None:
    no_trim(lambda _: object())
    assert c_library_trim() is None
    trim_heap()


def test_the_c_library_is_asked_to_keep_nothing(no_trim: Callable[[object], None]) -> None:
    calls: list[int] = []

    class Library:
        malloc_trim = calls.append

    no_trim(lambda _: Library)
    trim_heap()
    assert calls == [0]


def test_only_a_gpu_has_a_cache_to_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    empty_cache(CPU)
    assert emptied == []
    empty_cache(CUDA)
    assert emptied == [True]
    assert memory_name(CPU) != memory_name(CUDA)


# Errors


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=repr,
)
def test_which_errors_mean_that_memory_ran_out(error: BaseException, means: bool) -> None:
    assert out_of_memory(error) is means


def test_torch_raises_one_of_these() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(1 << 62, dtype=torch.uint8)
    assert out_of_memory(raised.value)
