"""LanceDB beside the exact scan: the table follows the index, and damage is reported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_index import Random, description_of, indexed, sentences

from vaekit.errors import MissingPackage
from vaekit.retrieval.index import Index, opened_for_change, opened_for_search
from vaekit.retrieval.lance import FOLDER, STATE, BadTable, open_lance, synchronize

pytest.importorskip("lancedb", reason="needs the package lancedb")


def query(number: int) -> object:
    return Random()(torch.tensor([[float(number)]]))[0].numpy()


@contextmanager
def changed(folder: Path) -> Iterator[Index]:
    with opened_for_change(folder, description_of(Random())) as index:
        yield index


def test_the_table_follows_the_index(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(600), chunk=200)
    with changed(tmp_path) as index:
        first = synchronize(index)
        assert first.items == 600 and first.recall >= 0.95
        assert synchronize(index) == first
    indexed(tmp_path, [*sentences(500, 50), ("item-00600", "text 9000")], chunk=200)
    with opened_for_search(tmp_path) as index:
        assert open_lance(index) is None  # out of date
    with changed(tmp_path) as index:
        assert synchronize(index).items == 501
    with opened_for_search(tmp_path) as index:
        search = open_lance(index)
        assert search is not None and search.name == "lancedb"
        for number in (50, 300, 549, 9000):
            found = index.search(query(number), 10, search)
            exact = index.search(query(number), 10)
            assert found[0].row.entry.key == exact[0].row.entry.key == f"item-{min(number, 600):05d}"
            assert len({match.row.id for match in found} & {match.row.id for match in exact}) >= 8
        gone = {match.row.entry.key for match in index.search(query(3), 50, search)}
        assert "item-00003" not in gone


def test_an_interrupted_copy_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(tmp_path, sentences(300), chunk=200)

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vaekit.retrieval.lance.divide", killed)
        with pytest.raises(KeyboardInterrupt), changed(tmp_path) as index:
            synchronize(index)
    with opened_for_search(tmp_path) as index:
        assert open_lance(index) is None
    with changed(tmp_path) as index:
        synchronize(index)
        search = open_lance(index)
        assert search is not None
        keys = [match.row.entry.key for match in index.search(query(5), 300, search)]
        assert len(keys) == len(set(keys)) and keys[0] == "item-00005"


def test_a_damaged_table_is_reported_and_made_again(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(300), chunk=200)
    with changed(tmp_path) as index:
        synchronize(index)
    for file in (tmp_path / FOLDER).rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged" * 10)
    with opened_for_search(tmp_path) as index, refuses(BadTable, FOLDER, STATE):
        search = open_lance(index)
        assert search is not None
        index.search(query(1), 5, search)
    (tmp_path / STATE).unlink()
    with changed(tmp_path) as index:
        synchronize(index)
        search = open_lance(index)
        assert search is not None and index.search(query(1), 5, search)[0].row.entry.key == "item-00001"


def test_without_lancedb_an_index_is_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(tmp_path, sentences(300), chunk=200)
    monkeypatch.setitem(__import__("sys").modules, "lancedb", None)
    with changed(tmp_path) as index, refuses(MissingPackage, "vaekit[search]"):
        synchronize(index)
    with opened_for_search(tmp_path) as index:
        assert index.search(query(1), 1)[0].row.entry.key == "item-00001"
