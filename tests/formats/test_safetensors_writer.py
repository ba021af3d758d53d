"""Write safetensors: the library reads the same, from memory, from other files and converted."""

import json
import math
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.errors import BadCheckpoint, CannotWriteHere, WrongTensors
from vaekit.formats import safetensors_writer
from vaekit.formats.open import open_tensors
from vaekit.formats.safetensors_writer import (
    ALIGNMENT,
    METADATA_ENTRY,
    Piece,
    check_free_space,
    converted,
    header,
    in_order,
    piece_of,
    write_safetensors,
)
from vaekit.formats.tensor_file import Span

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.arange(5).byte(),
    "c": torch.tensor([1.0, -2.0, 65504.0]).half(),
    "d": torch.empty(0, 3),
    "e": torch.tensor(7),
}


def in_memory(tensors: Mapping[str, Tensor]) -> list[Piece]:
    return [Piece(name, tuple(x.shape), x.dtype, lambda x=x: x) for name, x in tensors.items()]  # type: ignore[misc]


def written(path: Path, pieces: list[Piece], metadata: dict[str, str] | None = None) -> dict[str, Tensor]:
    write_safetensors(path, header(pieces, metadata or {}), pieces, path)
    return load_file(path)


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    assert_equal(written(tmp_path / "x", in_order(in_memory(TENSORS)), {"k": "\u00e9"}), TENSORS)
    with safe_open(tmp_path / "x", "pt") as file:
        assert file.metadata() == {"k": "\u00e9"}


def test_wide_elements_come_first_so_that_all_are_aligned(tmp_path: Path) -> None:
    pieces = in_order(in_memory(TENSORS))
    assert [piece.name for piece in pieces] == ["e", "b", "d", "c", "a"]
    head = header(pieces, {})
    assert len(head) % ALIGNMENT == 0
    for piece in pieces:
        start, end = json.loads(head)[piece.name]["data_offsets"]
        assert start % piece.dtype.itemsize == 0 and end - start == piece.nbytes


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    orders = TENSORS, dict(reversed(TENSORS.items()))
    for i, tensors in enumerate(orders):
        written(tmp_path / str(i), in_order(in_memory(tensors)))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_a_header_may_list_some_names_first() -> None:
    pieces = in_order(in_memory(TENSORS))
    assert list(json.loads(header(pieces, {"k": "v"}, ["a", "missing", "d"]))) == [
        METADATA_ENTRY,
        "a",
        "d",
        "e",
        "b",
        "c",
    ]


@pytest.mark.parametrize(
    "piece",
    [
        Piece("x", (1,), torch.complex128, lambda: torch.ones(1)),
        Piece(METADATA_ENTRY, (1,), torch.uint8, lambda: torch.ones(1)),
    ],
)
def test_what_no_header_can_say_is_refused(piece: Piece) -> None:
    with refuses(WrongTensors, piece.name):
        header([piece], {})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


@pytest.mark.parametrize("kernel", [True, False])
def test_tensors_of_a_file_are_copied_as_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    if not kernel:
        monkeypatch.delattr("os.copy_file_range", raising=False)
    monkeypatch.setattr(safetensors_writer, "STEP", 7)
    file = open_tensors(source)
    pieces = [piece_of(file, name, f"new.{name}") for name in file.specs]
    assert all(isinstance(piece.source, Span) for piece in pieces)
    assert_equal(written(tmp_path / "x", pieces), {f"new.{name}": tensor for name, tensor in TENSORS.items()})


def test_tensors_of_a_file_are_converted_in_steps(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_writer, "CONVERTED", 8)
    file = open_tensors(source)
    piece = Piece("b", (2, 3), torch.float64, file.span("b"), stored=torch.float32)  # type: ignore[arg-type]
    assert [part.tolist() for part in piece.parts()] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert torch.equal(piece.tensor(), TENSORS["b"].double())
    assert (piece.nbytes, piece_of(file, "b").nbytes, piece_of(file, "d").tensor().shape) == (48, 24, (0, 3))


def test_values_that_would_become_infinite_are_refused() -> None:
    assert converted(torch.tensor([1.5, math.inf]), torch.float16, "x").tolist() == [1.5, math.inf]
    same = torch.ones(3)
    assert converted(same, torch.float32, "x").data_ptr() == same.data_ptr()
    with refuses(WrongTensors, "x", "70000", "float16", "65504"):
        converted(torch.tensor([1.0, -70000.0]), torch.float16, "x")
    assert converted(torch.tensor([448.0]).to(torch.float8_e4m3fn), torch.float16, "x").tolist() == [448.0]


def test_a_source_that_became_shorter_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_tensors(source)
    span = file.span("a")
    assert span is not None
    beyond = Span(source, span.start, source.stat().st_size)
    for piece in (Piece("a", (1,), torch.uint8, beyond), Piece("a", (1,), torch.float32, beyond, stored=torch.uint8)):
        with refuses(BadCheckpoint, "source.safetensors"):
            write_safetensors(tmp_path / "x", b"{}", [piece], tmp_path / "x")
        with refuses(BadCheckpoint, "source.safetensors"):
            piece.tensor()


def test_formats_without_a_dtype_of_torch_keep_their_own_name(tmp_path: Path) -> None:
    path = tmp_path / "four bits"
    head = json.dumps({"x": {"dtype": "F4", "shape": [4, 4], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(range(8)))
    piece = piece_of(open_tensors(path), "x")
    assert (piece.dtype_name, piece.nbytes) == ("F4", 8)
    write_safetensors(tmp_path / "y", header([piece], {}), [piece], tmp_path / "y")
    assert open_tensors(tmp_path / "y").specs == open_tensors(path).specs
    assert (tmp_path / "y").read_bytes()[-8:] == bytes(range(8))


def test_progress_counts_the_bytes_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_writer, "SYNC_INTERVAL", 1)
    calls: list[tuple[int, int]] = []
    pieces = in_order(in_memory(TENSORS))
    write_safetensors(tmp_path / "x", header(pieces, {}), pieces, tmp_path / "x", lambda *both: calls.append(both))
    size = (tmp_path / "x").stat().st_size
    assert calls[-1] == (size, size)
    assert calls == sorted(calls)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 0, 10**9))
    check_free_space(tmp_path, 10**9, tmp_path / "x")
    with refuses(CannotWriteHere, "2,000,000,000", "1,000,000,000"):
        check_free_space(tmp_path, 2 * 10**9, tmp_path / "x")
    pieces = [Piece("x", (10**9,), torch.float32, lambda: pytest.fail("read"))]
    with pytest.raises(CannotWriteHere):
        write_safetensors(tmp_path / "x", header(pieces, {}), pieces, tmp_path / "x")
    assert not (tmp_path / "x").exists()
