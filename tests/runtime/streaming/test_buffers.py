"""Bands in memory and in a file, maps, whole values and sliding strips hold the rows that were put into them."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from poisoned_arena import Ledger
from refusals import refuses
from torch import Tensor

from vaekit.errors import BadPlan
from vaekit.runtime.streaming import buffers
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.buffers import Map, PaddedRowBuffer, RowBuffer, Store, WholeValue, unlinked_file

CPU = torch.device("cpu")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def store(ledger: Ledger, tmp_path: Path) -> Store:
    return Store(CPU, ledger.make_arena(CPU, 1.5), tmp_path)


def row_numbers(first: int, end: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows (1, 2, rows, 3) whose values tell row, channel and column."""
    rows, channels, columns = torch.arange(first, end), torch.arange(2), torch.arange(3)
    return (rows[None, None, :, None] * 10 + channels[None, :, None, None] * 5 + columns).to(dtype)


# Store


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("limit", [None, 0])
def test_a_band_comes_back_as_it_was_put(store: Store, dtype: torch.dtype, limit: int | None) -> None:
    store.allow(limit, 1 << 20)
    wide = row_numbers(0, 9, dtype)
    bands = [store.put(a, wide.narrow(2, a, 3), 3) for a in (0, 3, 6)]  # not contiguous
    for a, band in zip((0, 3, 6), bands, strict=True):
        assert (band.start, band.end, band.nbytes) == (a, a + 3, 2 * 3 * 3 * dtype.itemsize)
        assert torch.equal(store.get(band), wide[:, :, a : a + 3])
    assert (store.held, store.written) == ((0, 162 * dtype.itemsize // 3) if limit == 0 else (54 * dtype.itemsize, 0))


def test_bands_beyond_the_limit_go_to_the_file_and_dropped_ones_make_room(store: Store) -> None:
    store.allow(32, 1 << 20)
    first, second = (store.put(i, torch.full((4,), float(i)), 1) for i in range(2))
    third = store.put(2, torch.full((4,), 2.0), 1)
    assert (first.offset, second.offset, third.offset) == (None, None, 0)
    assert (store.held, store.written) == (32, 16)
    store.drop(first)
    assert store.held == 16
    fourth = store.put(3, torch.full((4,), 3.0), 1)
    assert fourth.offset is None and store.held == 32
    assert [store.get(band)[0].item() for band in (second, third, fourth)] == [1, 2, 3]


def test_a_tighter_limit_sends_the_rows_that_are_read_last(store: Store) -> None:
    bands = [store.put(row, torch.full((1,), float(row)), 1) for row in range(4)]
    store.allow(8, 8)
    assert [band.offset is None for band in bands] == [True, True, False, False]
    assert [store.get(band).item() for band in bands] == [0, 1, 2, 3]
    assert (store.held, store.written) == (8, 8)


def test_a_place_in_the_file_is_used_again_by_bands_of_its_size_only(store: Store) -> None:
    store.allow(0, 0)
    first, second = store.put(0, torch.arange(5.0), 5), store.put(5, torch.arange(5.0) + 5, 5)
    store.drop(first)
    smaller = store.put(10, torch.arange(4.0) + 10, 4)
    same = store.put(14, torch.arange(5.0) + 14, 5)
    last = store.put(19, torch.arange(5.0) + 19, 5)
    assert [band.offset for band in (second, smaller, same, last)] == [20, 40, 0, 56]
    for band in (second, smaller, same, last):
        assert torch.equal(store.get(band), torch.arange(float(band.start), float(band.end)))


def test_rows_from_the_file_are_read_once_until_they_are_unloaded(store: Store) -> None:
    store.allow(0, 0)
    band = store.put(0, torch.arange(4.0), 4)
    loaded = store.get(band)
    assert store.get(band) is loaded
    store.unload(band)
    again = store.get(band)
    assert again is not loaded and torch.equal(again, torch.arange(4.0))


def test_rows_in_memory_stay_when_they_are_unloaded(store: Store) -> None:
    band = store.put(0, torch.arange(4.0), 4)
    store.unload(band)
    assert torch.equal(store.get(band), torch.arange(4.0))


def test_each_lease_is_returned_once(store: Store, ledger: Ledger) -> None:
    bands = [store.put(row, torch.zeros(2000), 1) for row in range(5)]
    assert ledger.outstanding == 5
    store.drop(bands[1])
    assert ledger.outstanding == 4
    store.allow(2 * 8000, 1 << 20)
    assert ledger.outstanding == 2
    store.close()
    assert ledger.outstanding == 0 and not ledger.overlaps
    assert store.held == 0
    store.close()


def test_the_limit_of_buffers_is_that_of_the_arena(store: Store) -> None:
    store.drop(store.put(0, torch.zeros(4096), 1))
    assert store.arena.allocated == 4 * 4096
    store.allow(None, 100)
    assert (store.arena.limit, store.arena.allocated) == (100, 0)


def test_the_file_has_no_name_and_is_closed(store: Store, tmp_path: Path) -> None:
    store.allow(0, 0)
    store.put(0, torch.zeros(4), 4)
    file = store._file
    assert file is not None and os.fstat(file).st_size == 16
    assert list(tmp_path.iterdir()) == []
    store.close()
    with pytest.raises(OSError):
        os.fstat(file)


def test_a_folder_for_the_file_is_made(tmp_path: Path) -> None:
    file = unlinked_file(tmp_path / "a" / "b")
    try:
        assert os.write(file, b"x") == 1
        assert list((tmp_path / "a" / "b").iterdir()) == []
    finally:
        os.close(file)


def test_short_writes_and_reads_are_continued(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr("os.pwrite", lambda file, data, offset: write(file, data[:7], offset))
    monkeypatch.setattr("os.preadv", lambda file, views, offset: read(file, [views[0][:5]], offset))
    store.allow(0, 0)
    for start in (0, 10):
        band = store.put(start, torch.arange(10.0) + start, 10)
        assert torch.equal(store.get(band), torch.arange(10.0) + start)


def test_a_full_disk_is_a_refusal_that_names_the_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store.allow(0, 0)
    monkeypatch.setattr("os.pwrite", full)
    with refuses(BadPlan, "VAEKIT_SCRATCH", tmp_path.name, "No space left on device") as refused:
        store.put(0, torch.zeros(4), 4)
    assert isinstance(refused.value.__cause__, OSError)


# Map


@pytest.mark.parametrize("limit", [None, 0, 30])
@pytest.mark.parametrize("band", [1, 24, 60, 1 << 20])
def test_a_map_gives_any_rows_that_were_put_in_any_order(
    store: Store, limit: int | None, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "BAND", band)
    store.allow(limit, 1 << 20)
    kept = Map(store, 2, 1)
    for a, b in ((5, 9), (0, 2), (2, 5)):  # parts put their rows when they have them
        kept.put(a, row_numbers(a, b))
    for a in range(9):
        for b in range(a + 1, 10):
            assert torch.equal(torch.cat(kept.pieces(a, b), 2), row_numbers(a, b))
    assert kept.pieces(9, 12) == []


def test_bands_of_a_map_are_no_larger_than_the_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "BAND", 100)  # a row has 24 bytes
    kept = Map(store, 2, 1)
    kept.put(0, row_numbers(0, 10))
    assert [piece.shape[2] for piece in kept.pieces(0, 10)] == [4, 4, 2]
    monkeypatch.setattr(buffers, "BAND", 10)
    kept.put(10, row_numbers(10, 12))
    assert [piece.shape[2] for piece in kept.pieces(10, 12)] == [1, 1]


def test_rows_of_many_positions_are_kept_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "BAND", 16)
    values = torch.arange(24.0).view(1, 24)  # 8 rows of 3 positions
    kept = Map(store, 1, 3)
    kept.put(0, values)
    assert torch.equal(torch.cat(kept.pieces(2, 7), 1), values[:, 6:21])


def test_rows_that_nobody_needs_are_dropped_band_by_band(
    store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "BAND", 48)  # two rows
    kept = Map(store, 2, 1)
    kept.put(0, row_numbers(0, 10))
    assert ledger.outstanding == 5
    kept.keep_only([(3, 4), (7, 10)], permanently=False)
    assert ledger.outstanding == 5  # a later stage reads them
    kept.keep_only([(3, 4), (7, 10)], permanently=True)
    assert ledger.outstanding == 3
    assert torch.equal(torch.cat(kept.pieces(2, 4), 2), row_numbers(2, 4))
    assert torch.equal(torch.cat(kept.pieces(6, 10), 2), row_numbers(6, 10))
    assert kept.pieces(0, 2) == kept.pieces(4, 6) == []
    kept.keep_only((), permanently=True)
    assert ledger.outstanding == 0 and store.held == 0


# Whole values


def test_a_whole_value_is_filled_by_rows() -> None:
    kept = WholeValue(torch.zeros(1, 2, 9, 3), 2, 1)
    for a, b in ((5, 9), (0, 5)):
        kept.put(a, row_numbers(a, b))
    assert torch.equal(kept.tensor, row_numbers(0, 9))
    (piece,) = kept.pieces(2, 4)
    assert torch.equal(piece, row_numbers(2, 4)) and piece.data_ptr() != kept.tensor.data_ptr()
    kept.keep_only((), permanently=True)
    assert torch.equal(kept.tensor, row_numbers(0, 9))


def test_positions_of_a_row_are_filled_together() -> None:
    kept = WholeValue(torch.zeros(12, 2), 0, 4)
    kept.put(1, torch.arange(16.0).view(8, 2))
    assert torch.equal(kept.tensor[4:], torch.arange(16.0).view(8, 2)) and not kept.tensor[:4].any()
    assert torch.equal(kept.pieces(2, 3)[0], torch.arange(8.0, 16.0).view(4, 2))


def test_rows_that_half_precision_cannot_hold_make_the_value_fp32() -> None:
    kept = WholeValue(torch.zeros(1, 2, 4, 3, dtype=torch.float16), 2, 1)
    kept.put(0, row_numbers(0, 2, torch.float16))
    assert kept.tensor.dtype == torch.float16
    kept.put(2, torch.full((1, 2, 1, 3), 1e6))
    assert kept.tensor.dtype == torch.float32
    kept.put(3, row_numbers(3, 4, torch.float16))
    expected = row_numbers(0, 4)
    expected[:, :, 2] = 1e6
    assert torch.equal(kept.tensor, expected)


# Row buffers

STEPS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8)), min_size=1, max_size=8)
"""Rows added, then rows let go, several times."""


@given(STEPS, st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_strip_holds_the_rows_from_the_first_that_is_needed(steps: list[tuple[int, int]], start: int) -> None:
    ledger = Ledger()
    strip = RowBuffer(2, 1, start, ledger.make_arena(CPU, 3.0))
    assert (strip.start, strip.end, strip.pieces(start, start)) == (start, start, [])
    first = end = start
    for added, gone in steps:
        strip.append(row_numbers(end, end + added))
        end += added
        check_rows(strip, first, end, ledger)
        strip.release(first + gone)
        first = min(first + gone, end)
        check_rows(strip, first, end, ledger)
        strip.release(first - 1)  # nothing comes back
        check_rows(strip, first, end, ledger)
    strip.close()
    assert ledger.outstanding == 0 and not ledger.overlaps


def check_rows(strip: RowBuffer, first: int, end: int, ledger: Ledger) -> None:
    """A strip has rows first..end, and one lease at the most."""
    assert (strip.start, strip.end) == (first, end)
    for a, b in ((first, end), (first + 1, end), (first, end - 1)):
        if first <= a < b <= end:
            (piece,) = strip.pieces(a, b)
            assert torch.equal(piece, row_numbers(a, b))
    assert ledger.outstanding <= 1
    if first == end:
        assert strip.tensor is None and ledger.outstanding == 0


def test_a_strip_of_another_axis_and_unit() -> None:
    strip = RowBuffer(1, 3, 4, Arena(CPU))
    values = torch.arange(30.0).view(1, 30)
    strip.append(values[:, 12:24])  # rows 4..8
    strip.release(6)
    strip.append(values[:, 24:30])
    assert (strip.start, strip.end) == (6, 10)
    assert torch.equal(strip.pieces(7, 10)[0], values[:, 21:30])


def test_rows_that_stay_are_copied_to_memory_of_their_own() -> None:
    ledger = Ledger()
    strip = RowBuffer(2, 1, 0, ledger.make_arena(CPU, 3.0))
    made = row_numbers(0, 4)
    strip.append(made)
    assert strip.pieces(0, 4)[0].data_ptr() == made.data_ptr()
    strip.release(3)
    made.fill_(torch.nan)
    assert torch.equal(strip.pieces(3, 4)[0], row_numbers(3, 4))
    assert ledger.outstanding == 1


@given(STEPS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_frame_keeps_old_rows_in_front_of_new_ones(steps: list[tuple[int, int]], start: int) -> None:
    ledger = Ledger()
    frame = PaddedRowBuffer(2, 1, start, ledger.make_arena(CPU, 3.0))
    first = end = start
    for added, gone in steps:
        grow(frame, end, added)
        end += added
        check_rows(frame, first, end, ledger)
        frame.release(first + gone)
        first = min(first + gone, end)
        check_rows(frame, first, end, ledger)
    frame.close()
    assert ledger.outstanding == 0 and not ledger.overlaps


def grow(frame: PaddedRowBuffer, end: int, added: int) -> bool:
    """Add numbered rows; returns whether they lie in other memory than the ones before."""
    buffer, new, fresh = frame.grow(added, (1, 2, 99, 3), torch.float32)
    assert new.shape[2] == added and buffer.shape[2] == frame.end - frame.start
    assert new.data_ptr() == buffer.narrow(2, buffer.shape[2] - added, added).data_ptr()
    new.copy_(row_numbers(end, end + added))
    return fresh


def test_a_frame_stays_in_place_while_its_size_and_dtype_stay() -> None:
    ledger = Ledger()
    frame = PaddedRowBuffer(2, 1, 0, ledger.make_arena(CPU, 3.0))
    fresh, places = [], []
    for end in range(0, 24, 6):
        fresh.append(grow(frame, end, 6))
        assert frame.tensor is not None
        places.append(frame.tensor.data_ptr())
        frame.release(end + 4)  # two rows stay: from the second time on there are eight
    assert fresh == [True, True, False, False]
    assert places[1] == places[2] == places[3]
    assert ledger.handed_out == 2
    grow(frame, 24, 5)
    assert ledger.handed_out == 3
    frame.close()
    assert ledger.outstanding == 0


def test_values_beside_the_rows_are_still_there_where_memory_is_not_fresh() -> None:
    frame = PaddedRowBuffer(2, 1, 0, Ledger().make_arena(CPU, 3.0))
    sides = []
    for end in range(0, 40, 8):
        buffer, new, fresh = frame.grow(8, (1, 1, 99, 4), torch.float32)
        if fresh:
            buffer[..., 0], buffer[..., -1] = -1.0, -2.0
        new[..., 1:-1] = 1.0
        sides.append((buffer[..., 0].unique().tolist(), buffer[..., -1].unique().tolist(), fresh))
        assert bool((buffer[..., 1:-1] == 1).all())
        frame.release(end + 6)
    assert {(tuple(left), tuple(right)) for left, right, _ in sides} == {((-1.0,), (-2.0,))}
    assert not sides[-1][2]


@pytest.mark.parametrize("kept", [3, 4, 5])
def test_rows_that_would_overlap_their_new_place_move_to_another_buffer(kept: int) -> None:
    frame = PaddedRowBuffer(2, 1, 0, Ledger().make_arena(CPU, 3.0))
    grow(frame, 0, 8)
    frame.release(8 - kept)
    fresh = grow(frame, 8, 8 - kept)  # the same size as before
    assert fresh is (kept > 4)
    assert torch.equal(frame.pieces(8 - kept, 16 - kept)[0], row_numbers(8 - kept, 16 - kept))


def test_another_dtype_takes_another_buffer() -> None:
    frame = PaddedRowBuffer(2, 1, 0, Arena(CPU))
    frame.grow(4, (1, 2, 4, 3), torch.float16)[1].copy_(row_numbers(0, 4))
    frame.release(2)
    buffer, new, fresh = frame.grow(2, (1, 2, 4, 3), torch.float32)
    new.copy_(row_numbers(4, 6))
    assert fresh and buffer.dtype == torch.float32
    assert torch.equal(frame.pieces(2, 6)[0], row_numbers(2, 6))


def test_pieces_of_frames_are_views() -> None:
    arena = Arena(CPU)
    frame = PaddedRowBuffer(2, 1, 0, arena)
    grow(frame, 0, 2000)
    assert arena.holds(frame.pieces(3, 5)[0])
