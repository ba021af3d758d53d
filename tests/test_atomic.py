"""Files and folders appear whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.atomic import atomic_file, atomic_folder, atomic_group, resumable_file
from vaekit.errors import CannotWrite, CannotWriteHere


def fill(place: Path) -> None:
    """Put something into a temporary file or folder."""
    (place / "inner" if place.is_dir() else place).write_text("new")


def test_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "x.txt"
    with atomic_file(target) as temporary:
        assert temporary.parent == target.parent
        fill(temporary)
        assert not target.exists()
    assert (target.read_text(), [path.name for path in target.parent.iterdir()]) == ("new", ["x.txt"])


def test_a_folder_gets_its_name_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()  # an empty folder is no obstacle
    with atomic_folder(tmp_path / "x") as temporary:
        (temporary / "sub").mkdir()
        fill(temporary)
        assert list((tmp_path / "x").iterdir()) == []
    assert (tmp_path / "x" / "inner").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def fail(whole: AbstractContextManager[Path], error: BaseException) -> None:
    """Write something and break off."""
    with whole as temporary:
        fill(temporary)
        raise error


def test_files_move_into_a_folder_together(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        (tmp_path / name).write_text("old")
    with atomic_group(tmp_path) as temporary:
        for name in ("one", "two"):
            (temporary / name).write_text("new")
        assert (tmp_path / "one").read_text() == "old"
    now = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert now == {"one": "new", "two": "new", "other": "old"}


def test_a_group_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("old")
    with refuses(CannotWrite, "No space left"):
        fail(atomic_group(tmp_path), OSError(28, "No space left on device"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_group_moves_over_no_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with refuses(CannotWrite, "Is a directory"), atomic_group(tmp_path) as temporary:
        fill(temporary)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


def test_a_group_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with refuses(CannotWrite, "File exists"), atomic_group(tmp_path / "x"):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("whole", [atomic_file, atomic_folder])
def test_after_a_failure_nothing_is_left(
    tmp_path: Path, whole: Callable[[Path], AbstractContextManager[Path]], error: type[BaseException]
) -> None:
    with pytest.raises(error):
        fail(whole(tmp_path / "x"), error())
    assert list(tmp_path.iterdir()) == []


def test_after_a_failure_the_old_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with refuses(CannotWrite, "No space left"):
        fail(atomic_file(tmp_path / "x"), OSError(28, "No space left on device"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "old")]


@pytest.mark.parametrize("whole", [atomic_file, atomic_folder])
@pytest.mark.parametrize("place", ["file/x", "file/deeper/x", "x" * 300, "nul\0byte", "full"])
def test_places_that_cannot_be(
    tmp_path: Path, whole: Callable[[Path], AbstractContextManager[Path]], place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    with pytest.raises(CannotWrite), whole(tmp_path / place) as temporary:
        fill(temporary)
    assert (tmp_path / "full" / "mine").read_text() == "keep"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


@pytest.mark.parametrize("whole", [atomic_file, atomic_folder])
def test_the_longest_name_that_the_system_allows(
    tmp_path: Path, whole: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    with whole(tmp_path / ("x" * 255)) as temporary:
        fill(temporary)
    assert (tmp_path / ("x" * 255)).exists()


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual.txt").write_text("")
    (tmp_path / "usual").mkdir()
    with atomic_file(tmp_path / "x.txt") as temporary:
        fill(temporary)
    with atomic_folder(tmp_path / "x") as temporary:
        fill(temporary)
    for ours, usual in (("x.txt", "usual.txt"), ("x", "usual"), ("x/inner", "usual.txt")):
        assert stat.S_IMODE((tmp_path / ours).stat().st_mode) == stat.S_IMODE((tmp_path / usual).stat().st_mode)


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_permissions_follow_the_umask_while_other_threads_write(tmp_path: Path, mask: int) -> None:
    def write(number: int) -> int:
        with atomic_file(tmp_path / str(number) / "x.txt") as temporary:
            fill(temporary)
        made = (tmp_path / str(number) / "x.txt", tmp_path / str(number))
        return stat.S_IMODE(made[0].stat().st_mode) << 12 | stat.S_IMODE(made[1].stat().st_mode)

    before = os.umask(mask)
    try:
        with ThreadPoolExecutor(4) as pool:
            modes = set(pool.map(write, range(100)))
    finally:
        after = os.umask(before)
    assert modes == {(0o666 & ~mask) << 12 | (0o777 & ~mask)}
    assert after == mask


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_apart(tmp_path: Path, number: int) -> None:
    with pytest.raises(CannotWriteHere):
        fail(atomic_file(tmp_path / "x"), OSError(number, "no"))
    with pytest.raises(CannotWrite) as other:
        fail(atomic_file(tmp_path / "x"), OSError(errno.EFBIG, "no"))
    assert not isinstance(other.value, CannotWriteHere)


def test_a_folder_that_refuses_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWriteHere):
        fail(atomic_file(tmp_path / "file" / "x"), OSError())
    (tmp_path / "folder").mkdir()
    with pytest.raises(CannotWrite) as other, atomic_file(tmp_path / "folder") as temporary:
        fill(temporary)
    assert not isinstance(other.value, CannotWriteHere)


KILLED = """
import os, signal, sys
from pathlib import Path
from vaekit import atomic
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
with getattr(atomic, sys.argv[1])(Path(sys.argv[2])) as temporary:
    (temporary / "inner" if temporary.is_dir() else temporary).write_text("new")
"""


@pytest.mark.parametrize("whole", ["atomic_file", "atomic_folder"])
def test_a_kill_in_the_last_moment_leaves_the_old_state(tmp_path: Path, whole: str) -> None:
    target = tmp_path / "x"
    if whole == "atomic_file":
        target.write_text("old")
    ended = subprocess.run([sys.executable, "-c", KILLED, whole, str(target)], check=False)
    assert ended.returncode == -9
    assert not target.exists() if whole == "atomic_folder" else target.read_text() == "old"


def test_the_working_folder_is_a_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_file(Path("x")) as temporary:
        fill(temporary)
    assert [path.name for path in Path().iterdir()] == ["x"]


def test_a_resumed_file_goes_on_where_it_broke(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.txt"
    with pytest.raises(KeyboardInterrupt):
        fail(resumable_file(target, "a"), KeyboardInterrupt())
    assert not target.exists()
    with resumable_file(target, "b") as part:  # another content does not take it over
        assert part.read_text() == ""
        part.write_text("other")
    with resumable_file(target, "a") as part:
        assert part.read_text() == "new"
        part.write_text("new and whole")
    assert (target.read_text(), [path.name for path in target.parent.iterdir()]) == ("new and whole", ["x.txt"])


def test_a_resumed_file_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file" / "x", tmp_path / "\0"):
        with pytest.raises(CannotWrite), resumable_file(target, "a"):
            pass


def test_the_same_folder_again_is_accepted_and_kept(tmp_path: Path) -> None:
    """The process may have been killed after the last rename."""

    def write(content: str, names: tuple[str, ...] = ("a", "b")) -> None:
        with atomic_folder(tmp_path / "folder", names) as inside:
            for name in names:
                (inside / name).write_text(content)

    write("one")
    before = (tmp_path / "folder" / "a").stat().st_ino
    write("one")
    assert (tmp_path / "folder" / "a").stat().st_ino == before
    with pytest.raises(CannotWrite):
        write("two")
    with pytest.raises(CannotWrite):
        write("one", ("a",))
    assert (tmp_path / "folder" / "b").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
