"""Files of groups: what was written comes back, and damage is noticed."""

from pathlib import Path

import pytest

from vaekit.codec.archive import ArchiveHead, Entry, Group, read_archive, write_end, write_group, write_head
from vaekit.errors import BadArchive, CannotRead, NotFound

HEAD = ArchiveHead("images", "0" * 64, "parts", 5, 0.125, -64, 128)
COUNTING = Group([Entry(f"test[{number}]", True, b"") for number in range(8, 12)], b"a chain")
MIXED = Group([Entry("b.png", False, b"all of it"), Entry("a\n.png", True, b"a part")], b"another")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "items.vk"
    with path.open("wb") as file:
        write_head(file, HEAD)
        for group in (COUNTING, MIXED):
            write_group(file, group)
        write_end(file, 6)
    return path


def test_groups_come_back(path: Path) -> None:
    head, groups = read_archive(path)
    assert head == HEAD
    assert list(groups) == [COUNTING, MIXED]


def test_every_damaged_bit_and_every_end_is_noticed(path: Path, tmp_path: Path) -> None:
    content, other = path.read_bytes(), tmp_path / "damaged.vk"
    for place in range(len(content)):
        other.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        with pytest.raises(BadArchive):
            list(read_archive(other)[1])
        other.write_bytes(content[:place])
        with pytest.raises(BadArchive):
            list(read_archive(other)[1])
    other.write_bytes(content + b"\0")
    with pytest.raises(BadArchive, match="behind its end"):
        list(read_archive(other)[1])


def test_a_missing_group_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "short.vk"
    with path.open("wb") as file:
        write_head(file, HEAD)
        write_group(file, COUNTING)
        write_end(file, 6)
    with pytest.raises(BadArchive, match="items are missing"):
        list(read_archive(path)[1])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_archive(tmp_path / "missing.vk")
    with pytest.raises(CannotRead):
        read_archive(tmp_path)
    (tmp_path / "text.vk").write_text("something else")
    with pytest.raises(BadArchive, match="not a file that vaekit has compressed"):
        read_archive(tmp_path / "text.vk")


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "later.vk"
    with path.open("wb") as file:
        write_head(file, ArchiveHead("images", "0" * 64, "parts", 0, 1.0, -1, 2, version=2))
        write_end(file, 0)
    with pytest.raises(BadArchive, match="version 2"):
        read_archive(path)
