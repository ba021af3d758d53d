"""Files of the user: regular ones only, never waited for, and text up to a limit."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from vaekit.reading import Unreadable, exists, open_file, read_bytes, read_json, read_text, refuse_beyond_memory


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(("make", "number"), [(pipe, errno.ESPIPE), (Path.mkdir, errno.EISDIR)], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None], number: int) -> None:
    make(tmp_path / "x")
    with pytest.raises(Unreadable) as refused:
        open_file(tmp_path / "x")
    assert refused.value.errno == number
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_devices_are_not_opened(device: str) -> None:
    if not Path(device).exists():
        pytest.skip("no such device here")
    with pytest.raises(OSError):
        open_file(device)


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    path = tmp_path / "x"
    pipe(path)
    regular = os.stat_result((stat.S_IFREG, *path.stat()[1:]))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    with pytest.raises(Unreadable):
        open_file(path)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/status"])
def test_a_file_without_a_size_is_empty(path: str) -> None:
    if not os.access(path, os.R_OK):
        pytest.skip("no such file here")
    assert read_bytes(path, 100) == b""


def test_text_has_a_limit_which_the_message_names(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("[1, 2]")
    assert read_json(path, 6) == [1, 2]
    with pytest.raises(OSError) as refused:
        read_text(path, 5)
    assert "6 bytes" in str(refused.value) and "5" in str(refused.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(Unreadable):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff"])
def test_what_is_no_json_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "x")


def test_more_than_the_memory_is_refused() -> None:
    refuse_beyond_memory(1000, "x")
    with pytest.raises(Unreadable):
        refuse_beyond_memory(2**60, "x")


def test_a_loop_of_links_exists_and_a_name_that_is_too_long_does_not(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert exists(tmp_path / "loop")
    assert not exists(tmp_path / ("x" * 300))
    assert not exists(tmp_path / "a\0b")
