"""The files of an evaluation: nothing half-written, whatever the disk does."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from vaekit.errors import CannotWriteHere, ProtocolChanged
from vaekit.evaluation.evaluate import Measures, Tally, add_saved
from vaekit.evaluation.journal import CHECKSUM, ITEMS, ROWS, Batch, Item, Journal


def batch(name: str, rows: int = 2) -> Batch:
    return Batch((Item(name, {"psnr": 1.0}),), {"rfid": torch.full((rows, 3), 0.5)} if rows else {})


def test_a_journal_without_batches_makes_no_files(tmp_path: Path) -> None:
    assert list(Journal(tmp_path).batches()) == []
    assert list(tmp_path.iterdir()) == []


def test_without_pooled_measures_there_is_no_file_of_rows(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(batch("a", rows=0))
    assert [path.name for path in tmp_path.iterdir()] == [ITEMS]
    assert [each.items for each in journal.batches()] == [batch("a").items]


@pytest.mark.parametrize("written", [0, 1])
@pytest.mark.parametrize("fails_at", [1, 2], ids=["rows", "items"])
def test_a_full_disk_leaves_whole_batches_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, fails_at: int
) -> None:
    journal = Journal(tmp_path)
    for number in range(written):
        journal.add(batch(str(number)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    settle, calls = os.fsync, iter(range(1, 9))

    def fsync(file: int) -> None:
        if next(calls) == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CannotWriteHere):
        journal.add(batch("lost"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    journal.add(batch("again"))
    assert [each.items[0].name for each in journal.batches()] == [*map(str, range(written)), "again"]


@pytest.mark.parametrize(
    "end", [b'{"items": []', b'{"items": [], "rows": {"rfid": [9999999999, 99999]}}\n', b"[" * 9999 + b"\n"]
)
def test_a_damaged_end_is_cut_off(tmp_path: Path, end: bytes) -> None:
    journal = Journal(tmp_path)
    journal.add(batch("a"))
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in (ITEMS, ROWS):
        with open(tmp_path / name, "ab") as file:
            file.write(end)
    assert [each.items[0].name for each in journal.batches()] == ["a"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


@pytest.mark.parametrize("name", [ITEMS, ROWS])
def test_damaged_batches_are_cut_off(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path)
    for each in ("a", "b"):
        journal.add(batch(each))
    whole = (tmp_path / name).read_bytes()
    half = len(whole) // 2
    damaged = whole[:half] + whole[half:].replace(b"1.0", b"2.0").replace(b"?", b"@")
    assert damaged != whole
    (tmp_path / name).write_bytes(damaged)
    assert [each.items[0].name for each in journal.batches()] == ["a"]


def test_batches_of_older_versions_have_no_checksum(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(batch("a"))
    entry = json.loads((tmp_path / ITEMS).read_text())
    del entry[CHECKSUM]
    (tmp_path / ITEMS).write_text(json.dumps(entry) + "\n")
    assert [each.items[0].name for each in journal.batches()] == ["a"]


@pytest.mark.parametrize("saved", [Batch((Item("a", {"other": 1.0}),)), Batch((), {"other": torch.ones(1, 2)})])
def test_results_of_other_measures_are_refused(tmp_path: Path, saved: Batch) -> None:
    journal = Journal(tmp_path)
    journal.add(saved)
    with pytest.raises(ProtocolChanged):
        add_saved(Tally(Measures()), journal)
