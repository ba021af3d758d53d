"""The common representation of weights files, and the checks of the contents of their headers."""

from pathlib import Path

import pytest
import torch
from refusals import refuses

from vaekit.errors import BadCheckpoint
from vaekit.formats.tensor_file import (
    LONGEST_NAME,
    MOST_AXES,
    MOST_NUMBERS,
    MOST_TENSORS,
    MappedFile,
    TensorFile,
    TensorSpec,
    check_apart,
    check_names,
    check_readable,
    checked_size,
    checked_sizes,
    damaged,
    shape_of,
)


def test_a_format_is_named_as_it_is_stored() -> None:
    assert TensorSpec((2,), torch.float16).stored_as == "float16"
    assert TensorSpec((2,), torch.float32, "Q8_0").stored_as == "q8_0"


def test_damage_is_told_with_its_reason() -> None:
    with refuses(BadCheckpoint, "x.pt", "no directory"):
        raise damaged(Path("x.pt"), "no directory")


def test_tensors_in_unreadable_formats_are_counted_and_named() -> None:
    specs = {
        "a": TensorSpec((2,), torch.float32),
        "b": TensorSpec((2,), torch.uint8, "Q4_0", readable=False),
        "c": TensorSpec((2,), torch.uint8, "IQ2_S", readable=False),
    }
    file = TensorFile(Path("x.gguf"), "gguf", {}, specs, lambda _: {})
    check_readable(file, ["a"])
    assert file.span("a") is None
    with refuses(BadCheckpoint, "x.gguf", "2", "IQ2_S, Q4_0", "c"):
        check_readable(file, ["a", "c", "b"])


def test_names_are_short_printable_and_not_too_many() -> None:
    check_names(["a.weight", "x" * LONGEST_NAME, "\u00e9"])
    for odd in ("x" * (LONGEST_NAME + 1), "a\nb", "\x1b[2J", "\u202ex"):
        with refuses(ValueError, f"{len(odd):,}"):
            check_names(["a", odd])
    with refuses(ValueError, f"{MOST_TENSORS:,}"):
        check_names([""] * (MOST_TENSORS + 1))


@pytest.mark.parametrize("number", [-1, MOST_NUMBERS + 1, True, 1.0, "1", None])
def test_a_count_is_an_integer_in_range(number: object) -> None:
    assert checked_size(MOST_NUMBERS) == MOST_NUMBERS
    with pytest.raises(ValueError):
        checked_size(number)


@pytest.mark.parametrize("shape", [[1] * (MOST_AXES + 1), "12", {1}, None, (1, -1), [2.0]])
def test_a_shape_is_a_list_of_few_counts(shape: object) -> None:
    assert checked_sizes([2, 3]) == checked_sizes((2, 3)) == (2, 3)
    with pytest.raises(ValueError):
        checked_sizes(shape)


def test_products_of_sides_do_not_overflow_even_beside_a_zero() -> None:
    assert shape_of([2**31, 2**31]) == (2**31, 2**31)
    assert shape_of([]) == ()
    for shape in ([2**31, 2**32], [0, 2**40, 2**40]):
        with pytest.raises(ValueError):
            shape_of(shape)


def test_ranges_lie_apart_and_before_the_end() -> None:
    check_apart([(8, 4, "b"), (0, 8, "a"), (2, 0, "empty"), (12, 4, "c")], 16)
    with refuses(ValueError, "b"):
        check_apart([(0, 8, "a"), (7, 4, "b")], 16)
    with refuses(ValueError, "c"):
        check_apart([(0, 8, "a"), (13, 4, "c")], 16)


@pytest.fixture
def mapped(tmp_path: Path) -> MappedFile:
    (tmp_path / "x").write_bytes(b"\0" + torch.arange(6, dtype=torch.int32).numpy().tobytes() + b"\x01\x02")
    return MappedFile(tmp_path / "x", 27)


def test_values_between_two_places_are_aligned(mapped: MappedFile) -> None:
    found = mapped.tensor(1, (2, 3), torch.int32)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.data_ptr() % 4 == 0


def test_values_of_the_other_byte_order_are_turned(mapped: MappedFile) -> None:
    found = torch.empty(0, dtype=torch.int16).set_(mapped.part(25, 2, torch.int16, "big"))
    assert found.tolist() == [0x0102]
    assert mapped.tensor(25, (1,), torch.int16).tolist() == [0x0201]
    one = torch.empty(0, dtype=torch.uint8).set_(mapped.part(25, 2, torch.uint8, "big"))
    assert one.tolist() == [1, 2]


def test_empty_tensors_have_their_shape(mapped: MappedFile) -> None:
    found = mapped.tensor(10**9, (0, 3), torch.float16)
    assert (found.shape, found.dtype) == ((0, 3), torch.float16)


def test_the_file_is_never_written_to(mapped: MappedFile, tmp_path: Path) -> None:
    before = (tmp_path / "x").read_bytes()
    mapped.tensor(25, (2,), torch.uint8).fill_(9)
    assert (tmp_path / "x").read_bytes() == before


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123")
    with refuses(BadCheckpoint, "x"):
        MappedFile(tmp_path / "x", 100)
