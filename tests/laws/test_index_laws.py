"""Laws of indexes: an item is its own first neighbor, an index depends on its data alone, and no interruption shows."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_index import content, indexed, sentences, small_images, square_model

from vaekit.retrieval.index import ROWS, opened_for_search
from vaekit.tasks.index import index
from vaekit.tasks.model import OpenModel
from vaekit.tasks.search import SearchOptions, search

COUNT = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    return square_model(tmp_path_factory.mktemp("vae") / "square.safetensors")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return small_images(COUNT)


def save(folder: Path, images: np.ndarray) -> Path:
    path = folder / "images.npz"
    np.savez(path, x=images)
    return path


def test_an_item_is_its_own_first_neighbor(model: OpenModel, images: np.ndarray, tmp_path: Path) -> None:
    images = np.concatenate([images, images[:5], np.clip(images[5:10].astype(int) + 1, 0, 255).astype(np.uint8)])
    index(model, save(tmp_path, images), tmp_path / "index")
    for number in range(len(images)):
        result = search(model, f"images.npz[{number}]", tmp_path / "index", SearchOptions(3))
        first = result.neighbors[0]
        assert first.itself and first.distance < 1e-6
        assert (images[int(first.item[len("images.npz[") : -1])] == images[number]).all()


def test_indexing_again_embeds_nothing(model: OpenModel, images: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path, images)
    index(model, path, tmp_path / "index")
    before = content(tmp_path / "index")
    again = index(model, path, tmp_path / "index")
    assert (again.changes.embedded, again.changes.unchanged, again.changes.removed) == (0, COUNT, 0)
    assert content(tmp_path / "index") == before


def test_the_order_of_the_data_does_not_matter(model: OpenModel, images: np.ndarray, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    found = []
    for name, numbers in (("one", np.arange(COUNT)), ("other", order)):
        (tmp_path / name).mkdir()
        index(model, save(tmp_path / name, images[numbers]), tmp_path / name / "index")
        with opened_for_search(tmp_path / name / "index") as opened:
            queries = {row.entry.digest: opened.vectors_of([row])[0] for row in opened.rows.all()}
            results = {digest: opened.search(query, 4) for digest, query in queries.items()}
        found.append({digest: [match.row.entry.digest for match in matches] for digest, matches in results.items()})
    assert found[0] == found[1]


SCRIPT = """
import sys, time
from pathlib import Path
from small_index import Random, indexed, sentences
import vaekit.retrieval.update as update

update.COMMIT_ROWS = 1

class Slow(Random):
    def __call__(self, x):
        time.sleep(0.05)
        return super().__call__(x)

indexed(Path(sys.argv[1]), sentences(400), Slow())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_leaves_an_index_that_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    support = Path(__file__).parents[1] / "support"
    paths = os.pathsep.join([str(support), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=os.environ | {"PYTHONPATH": paths})
    try:
        wait_for_rows(folder / ROWS, 50, process)
    finally:
        process.kill()
        process.wait()
    left = len(content(folder))
    assert 50 <= left < 400
    changes = indexed(folder, sentences(400))
    assert (changes.added, changes.unchanged) == (400 - left, left)
    indexed(tmp_path / "whole", sentences(400))
    assert content(folder) == content(tmp_path / "whole")


def wait_for_rows(path: Path, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a table has this many rows."""
    for _ in range(600):
        assert process.poll() is None
        if path.exists():
            with closing(sqlite3.connect(path, timeout=10)) as connection:
                tables = connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'rows'").fetchone()[0]
                if tables and connection.execute("SELECT COUNT(*) FROM rows").fetchone()[0] >= count:
                    return
        time.sleep(0.05)
    raise AssertionError("no rows")
