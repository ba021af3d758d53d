"""Indexes are brought up to date: what is embedded, kept, removed and refused."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from refusals import refuses
from small_index import DIMENSION, Random, content, description_of, indexed, sentences

from vaekit.errors import BadIndex, BadItem, BadPlan, CannotWrite, CannotWriteHere, IndexMismatch
from vaekit.retrieval.index import ROWS, VECTORS, opened_for_change, opened_for_search


def test_only_new_and_edited_items_are_embedded(tmp_path: Path) -> None:
    folder, embedding = tmp_path / "index", Random()
    first = indexed(folder, sentences(50), embedding)
    assert (first.added, first.edited, first.unchanged, first.removed) == (50, 0, 0, 0)
    again = indexed(folder, sentences(50), embedding)
    assert (again.added, again.edited, again.unchanged, again.removed) == (0, 0, 50, 0) and embedding.embedded == 50
    edited = [*sentences(30), ("item-00030", "text 1000"), *sentences(5, 50)]
    changed = indexed(folder, edited, embedding)
    assert (changed.added, changed.edited, changed.unchanged, changed.removed) == (5, 1, 30, 19)
    assert embedding.embedded == 56
    fresh = tmp_path / "fresh"
    indexed(fresh, edited)
    assert content(folder) == content(fresh)


def test_slots_of_removed_items_are_used_again(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(40))
    indexed(tmp_path, sentences(10))
    size = (tmp_path / VECTORS).stat().st_size
    indexed(tmp_path, sentences(40))
    assert (tmp_path / VECTORS).stat().st_size == size == 40 * 4 * DIMENSION


def test_items_with_equal_names_are_kept_apart(tmp_path: Path) -> None:
    items = [("same", "text 1"), ("other", "text 2"), ("same", "text 3"), ("same", "text 1")]
    assert indexed(tmp_path, items).added == 4
    assert list(content(tmp_path)) == ["other", "same", "same (2)", "same (3)"]
    again = indexed(tmp_path, items[:3])
    assert (again.unchanged, again.removed) == (3, 1)


def test_unicode_names_and_names_that_are_no_unicode(tmp_path: Path) -> None:
    items = [("日本語/ё.png", "text 1"), ("caf\udce9.png", "text 2"), ("nul\0", "text 3"), ("", "text 4")]
    indexed(tmp_path, items)
    assert set(content(tmp_path)) == {key for key, _ in items}
    assert indexed(tmp_path, items).unchanged == 4


def test_items_without_a_vector_are_skipped_and_named(tmp_path: Path) -> None:
    items = [*sentences(20), ("bad", "no number"), ("damaged", "unreadable")]
    changes = indexed(tmp_path, items)
    assert changes.added == 20 and set(changes.skipped) == {"bad", "damaged"}
    assert "bad" in changes.skipped["bad"] and len(content(tmp_path)) == 20
    broken = indexed(tmp_path, [("item-00000", "unreadable"), *sentences(19, 1)])
    assert broken.removed == 1 and "item-00000" not in content(tmp_path)


def test_an_index_of_nothing_is_refused_and_an_old_one_is_kept(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(3))
    before = content(tmp_path)
    with refuses(BadItem, "2"):
        indexed(tmp_path, [("a", "unreadable"), ("b", "no number")])
    assert content(tmp_path) == before


def test_items_in_folders_that_cannot_be_listed_are_kept(tmp_path: Path) -> None:
    indexed(tmp_path, [("a/1", "text 1"), ("b/1", "text 2"), ("ab", "text 3")])
    changes = indexed(tmp_path, [("b/1", "text 2")], unlisted=["a"])
    assert changes.removed == 1 and list(content(tmp_path)) == ["a/1", "b/1"]


def test_labels_are_updated_without_embedding(tmp_path: Path) -> None:
    embedding = Random()
    indexed(tmp_path, sentences(3), embedding)
    changes = indexed(tmp_path, sentences(3), embedding, labels=["cat", None, "dog"])
    assert (changes.unchanged, embedding.embedded) == (3, 3)
    assert [label for _, label, _ in content(tmp_path).values()] == ["cat", None, "dog"]


@pytest.mark.parametrize("kept", [0, 16, 32])
def test_an_interrupted_update_goes_on(tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `kill -9`: chunks are committed one by one, and vectors may be written beyond the last commit."""
    monkeypatch.setattr("vaekit.retrieval.update.COMMIT_ROWS", 1)
    folder, embedding = tmp_path / "index", Random()

    class Killed(BaseException):
        pass

    def progress(done: int, total: int) -> None:
        if done > kept:
            raise Killed

    with pytest.raises(Killed):
        indexed(folder, sentences(50), embedding, progress=progress)
    with open(folder / VECTORS, "ab") as file:
        file.write(b"\xff" * 100)  # a part of the next vectors
    before = embedding.embedded
    changes = indexed(folder, sentences(50), embedding)
    assert changes.added == 50 - len(range(0, kept + 1, 16)) * 16 and embedding.embedded == before + changes.added
    indexed(tmp_path / "fresh", sentences(50))
    assert content(folder) == content(tmp_path / "fresh")


def test_another_embedding_is_refused(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(3))
    before = content(tmp_path)
    other = Random({"embedding": "random", "vae": "another"})
    with refuses(IndexMismatch, "none", "another"):
        indexed(tmp_path, sentences(4), other)
    with refuses(IndexMismatch, "8", "9"):
        indexed(tmp_path, sentences(4), Random(dimension=9))
    assert content(tmp_path) == before


def test_an_index_without_items_takes_another_embedding(tmp_path: Path) -> None:
    with refuses(BadItem):
        indexed(tmp_path, [("a", "unreadable")])
    other = Random({"embedding": "random", "vae": "another"})
    assert indexed(tmp_path, sentences(3), other).added == 3
    with refuses(IndexMismatch, "another"):
        indexed(tmp_path, sentences(3))


def test_two_processes_do_not_change_one_index(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(3))
    with (
        opened_for_change(tmp_path, description_of(Random())),
        refuses(CannotWriteHere, tmp_path),
    ):
        indexed(tmp_path, sentences(4))
    assert indexed(tmp_path, sentences(4)).added == 1


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with refuses(CannotWrite, "thesis.txt"):
        indexed(tmp_path, sentences(3))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(tmp_path, sentences(3))
    before = content(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with refuses(CannotWriteHere, VECTORS, "No space left"):
            indexed(tmp_path, sentences(9))
    assert content(tmp_path) == before
    assert indexed(tmp_path, sentences(9)).added == 6


def test_a_full_disk_of_rows_loses_nothing(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(3))
    before = content(tmp_path)
    with (
        opened_for_change(tmp_path, description_of(Random())) as index,
        refuses(CannotWriteHere, ROWS),
    ):
        index.rows._connection.execute("PRAGMA max_page_count = 1")
        index.change(added=[row.entry for row in index.rows.all()][:0], updated=[(1, long_entry(index))])
    assert content(tmp_path) == before


def long_entry(index: object) -> object:
    from dataclasses import replace

    row = next(index.rows.all())  # type: ignore[attr-defined]
    return replace(row.entry, label="x" * 500_000)


class Wrong(Random):
    """Returns vectors that are no embeddings."""

    def __call__(self, x: object) -> object:
        vectors = super().__call__(x)  # type: ignore[arg-type]
        return vectors * 2 if self.identity["embedding"] == "long" else vectors[:, 1:]


@pytest.mark.parametrize("kind", ["long", "short"])
def test_embeddings_that_break_their_contract_are_refused(tmp_path: Path, kind: str) -> None:
    with refuses(BadPlan):
        indexed(tmp_path, sentences(3), Wrong({"embedding": kind}))


STATEMENTS = {
    "a trigger": "CREATE VIEW other AS SELECT * FROM rows",
    "slots out of range": "UPDATE rows SET slot = 1000000000000 WHERE id = 1",
    "texts for numbers": "UPDATE rows SET slot = 'x' WHERE id = 1",
    "a size for content": "UPDATE rows SET digest = 1000000000000",
}
"""Changes of the rows that make an index invalid, by kind of damage."""


def damage(folder: Path, kind: str) -> None:
    rows, vectors, about = folder / ROWS, folder / VECTORS, folder / "index.json"
    if kind in STATEMENTS:
        with sqlite3.connect(rows) as connection:
            connection.execute(STATEMENTS[kind])
        connection.close()
    elif kind == "truncated rows":
        os.truncate(rows, 5000)
    elif kind == "other rows":
        rows.write_bytes(b"\x80\x04" * 5000)
    elif kind == "no rows":
        rows.unlink()
    elif kind == "truncated vectors":
        os.truncate(vectors, 100)
    elif kind == "no vectors":
        vectors.unlink()
    elif kind == "NaN vectors":
        vectors.write_bytes(np.full(400, np.nan, "<f4").tobytes())
    elif kind == "huge vectors":
        vectors.write_bytes(np.full(400, 1e30, "<f4").tobytes())
    elif kind == "zeros as vectors":
        vectors.write_bytes(bytes(vectors.stat().st_size))
    elif kind == "a pipe":
        rows.unlink()
        os.mkfifo(rows)
    elif kind == "no JSON":
        about.write_text("{")
    elif kind == "a list":
        about.write_text("[1]")
    elif kind == "newer":
        about.write_text(about.read_text().replace('"format": 1', '"format": 2'))
    elif kind == "older":
        about.write_text(about.read_text().replace('"format": 1', '"format": 0'))
    elif kind == "dimension":
        about.write_text(about.read_text().replace(f'"dimension": {DIMENSION}', '"dimension": 99999999'))
    else:
        about.unlink()


KINDS = (
    *("truncated rows", "other rows", "no rows", "a trigger", "slots out of range", "texts for numbers"),
    *("a size for content", "truncated vectors", "no vectors", "NaN vectors", "huge vectors", "zeros as vectors"),
    *("a pipe",),
    *("no JSON", "a list", "newer", "older", "dimension", "no description"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_index_is_refused(tmp_path: Path, kind: str) -> None:
    indexed(tmp_path, sentences(50))
    damage(tmp_path, kind)
    with refuses(BadIndex, tmp_path), opened_for_search(tmp_path) as index:
        index.search(Random()(as_one(7))[0].numpy(), 10)


@pytest.mark.parametrize("kind", ["truncated vectors", "no vectors", "slots out of range"])
def test_an_index_without_its_vectors_is_not_brought_up_to_date(tmp_path: Path, kind: str) -> None:
    indexed(tmp_path, sentences(50))
    damage(tmp_path, kind)
    with refuses(BadIndex, tmp_path):
        indexed(tmp_path, sentences(50))


def test_blocks_without_items_are_not_read(tmp_path: Path) -> None:
    """A file may be much larger than the disk, if most of it was never written."""
    indexed(tmp_path, sentences(50))
    last = 2**32
    with open(tmp_path / VECTORS, "r+b") as file:
        content = file.read(4 * DIMENSION)
        file.seek(last * 4 * DIMENSION)
        file.write(content)
    with sqlite3.connect(tmp_path / ROWS) as connection:
        connection.execute("UPDATE rows SET slot = ? WHERE slot = 0", [last])
    connection.close()
    with opened_for_search(tmp_path) as index:
        names = {match.row.entry.name for match in index.search(Random()(as_one(0))[0].numpy(), 50)}
    assert len(names) == 50


def as_one(number: int) -> object:
    import torch

    return torch.tensor([[float(number)]])


def test_neighbors_are_those_of_all_vectors(tmp_path: Path) -> None:
    indexed(tmp_path, sentences(60))
    indexed(tmp_path, sentences(40, 20))  # with free slots
    vectors = Random()(as_values_of(range(20, 60))).numpy().astype(np.float64)
    with opened_for_search(tmp_path) as index:
        for number in (20, 33, 59):
            query = vectors[number - 20]
            best = np.argsort(-(vectors @ query), kind="stable")[:5]
            matches = index.search(query.astype(np.float32), 5)
            assert [match.row.entry.key for match in matches] == [f"item-{20 + i:05d}" for i in best]
            assert matches[0].distance == pytest.approx(0, abs=1e-6)
        assert len(index.search(query.astype(np.float32), 1000)) == 40


def as_values_of(numbers: range) -> object:
    import torch

    return torch.tensor([[float(number)] for number in numbers])


def test_the_order_of_the_data_does_not_change_results(tmp_path: Path) -> None:
    items = [*sentences(60), ("twin", "text 7"), ("another twin", "text 7")]
    indexed(tmp_path / "one", items)
    indexed(tmp_path / "other", items[::-1])
    found = []
    for name in ("one", "other"):
        with opened_for_search(tmp_path / name) as index:
            matches = index.search(Random()(as_one(7))[0].numpy(), 12)
            found.append([(match.row.entry.key, match.similarity) for match in matches])
    assert found[0] == found[1]
    assert [key for key, _ in found[0][:3]] == ["another twin", "item-00007", "twin"]


def test_blocks_are_scanned_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(tmp_path, sentences(100))
    query = Random()(as_one(3))[0].numpy()
    with opened_for_search(tmp_path) as index:
        whole = [match.row.entry.key for match in index.search(query, 20)]
        monkeypatch.setattr(index.matrix, "rows_per_block", 7)
        assert [match.row.entry.key for match in index.search(query, 20)] == whole


def test_links_in_an_index_are_not_written_through(tmp_path: Path) -> None:
    indexed(tmp_path / "index", sentences(3))
    (tmp_path / "mine").write_bytes((tmp_path / "index" / VECTORS).read_bytes())
    (tmp_path / "index" / VECTORS).unlink()
    (tmp_path / "index" / VECTORS).symlink_to(tmp_path / "mine")
    with refuses(CannotWriteHere, VECTORS):
        indexed(tmp_path / "index", sentences(9))
    assert (tmp_path / "mine").stat().st_size == 3 * 4 * DIMENSION
