"""Ends of a run: rows that are read by ranges, and rows that are written in order."""

import pytest
import torch
from torch import Tensor

from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.endpoints import ReadRows, WrittenRows

ROWS = torch.arange(40.0).view(1, 2, 20)


def reader() -> tuple[ReadRows, list[tuple[int, int]], Arena]:
    """Rows of a value of 20, the ranges that are read, and the arena."""
    ranges: list[tuple[int, int]] = []

    def read(start: int, end: int) -> Tensor:
        ranges.append((start, end))
        return ROWS[:, :, start:end]

    arena = Arena(torch.device("cpu"))
    return ReadRows(read, 2, arena), ranges, arena


def joined(pieces: list[Tensor]) -> Tensor:
    return torch.cat(pieces, dim=2)


def test_each_row_is_read_once() -> None:
    rows, ranges, _ = reader()
    for a, b in ((0, 4), (2, 6), (6, 7), (3, 7)):
        assert torch.equal(joined(rows.pieces(a, b)), ROWS[:, :, a:b])
    assert ranges == [(0, 4), (4, 6), (6, 7)]


def test_rows_that_are_needed_again_are_kept() -> None:
    rows, ranges, arena = reader()
    rows.pieces(0, 8)
    rows.keep_only([(6, 20), (7, 20)], False)
    assert torch.equal(joined(rows.pieces(6, 10)), ROWS[:, :, 6:10])
    assert ranges == [(0, 8), (8, 10)]
    rows.keep_only([], True)
    assert arena.outstanding == 0


def test_rows_that_nothing_reads_are_skipped() -> None:
    rows, ranges, _ = reader()
    rows.pieces(0, 2)
    assert torch.equal(joined(rows.pieces(5, 7)), ROWS[:, :, 5:7])
    assert ranges == [(0, 2), (5, 7)]


def test_another_pass_reads_from_its_start() -> None:
    rows, ranges, _ = reader()
    rows.pieces(0, 20)
    rows.keep_only([], False)
    assert torch.equal(joined(rows.pieces(0, 3)), ROWS[:, :, :3])
    assert ranges == [(0, 20), (0, 3)]


def test_rows_are_written_in_order_and_are_copies() -> None:
    blocks: list[Tensor] = []
    rows, memory = WrittenRows(blocks.append, 2), ROWS.clone()
    rows.put(0, memory[:, :, :5])
    rows.keep_only([], True)
    rows.put(5, memory[:, :, 5:20])
    memory.zero_()
    assert rows.done == 20 and torch.equal(joined(blocks), ROWS)
    with pytest.raises(AssertionError):
        rows.put(3, memory)
    with pytest.raises(AssertionError):
        rows.pieces(0, 1)
