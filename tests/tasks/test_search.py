"""`tasks.search` in a domain with a measure of similarity: it is shown beside the distance."""

import json
from pathlib import Path

import pytest
from planted_tokens import planted_tokens

from vaekit.tasks.index import index
from vaekit.tasks.model import OpenModel
from vaekit.tasks.search import SearchOptions, search

LINES = ["aaaaaa", "aaaaab", "bbbbbb", "ababab"]


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return planted_tokens()


@pytest.fixture(scope="module")
def folder(model: OpenModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in LINES))
    index(model, folder / "lines.txt", folder / "index")
    return folder


def test_similarities_beside_distances(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    query = tmp_path / "query.txt"
    query.write_text("aaaabb\n")
    found = search(model, str(query), folder / "index", SearchOptions(k=4), tmp_path / "out")
    assert found.measure == "agreement"
    similar = [round(each.item_similarity or 0, 3) for each in found.neighbors]
    assert sorted(similar) == [0.333, 0.5, 0.667, 0.833] and similar[0] == 0.833
    record = json.loads((tmp_path / "out" / "search.json").read_text())
    assert record["measure"] == "agreement" and record["neighbors"][0]["item_similarity"] == pytest.approx(5 / 6)
    page = (tmp_path / "out" / "search.html").read_text()
    assert "agreement" in page and "0.83" in page


def test_an_item_of_the_index_is_equal_to_itself(model: OpenModel, folder: Path) -> None:
    found = search(model, "lines.txt:2", folder / "index", SearchOptions(k=2))
    assert found.neighbors[0].itself and found.neighbors[0].item_similarity == 1.0


def test_items_that_are_gone_have_no_similarity(model: OpenModel, folder: Path, tmp_path: Path) -> None:
    query = tmp_path / "query.txt"
    query.write_text("aaaabb\n")
    other = tmp_path / "other.txt"
    other.write_text("bbbbbb\n")
    found = search(model, str(query), folder / "index", SearchOptions(k=4, data=other))
    assert [each.item_similarity is None for each in found.neighbors].count(False) <= 1 and found.measure
