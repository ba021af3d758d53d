"""`tasks.index` and `tasks.search` on images, rows and sentences: what is found, shown, written and refused."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refuses
from small_index import square_model
from torch import Tensor

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.domains.images.read import read_image
from vaekit.errors import BadIndex, BadItem, BadPlan, IndexMismatch, NotFound, NoTrainingData
from vaekit.retrieval.index import HEAD, opened_for_search
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.meaning import Meaning, MeaningOptions, train_meaning
from vaekit.tasks.index import IndexOptions, index
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.search import SearchOptions, search

SIDES = ((40, 40), (53, 63), (90, 20))


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 40)) -> Path:
    """A smooth random image."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8).astype(np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def square_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("square") / "square.safetensors"


@pytest.fixture(scope="session")
def small(square_vae: Path) -> OpenModel:
    return square_model(square_vae)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Two folders of images of different sizes, and a broken file."""
    folder = tmp_path / "data"
    for number in range(12):
        picture(folder / "ab"[number % 2] / f"{number:02}.png", number, SIDES[number % 3])
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


@pytest.fixture
def made(small: OpenModel, gallery: Path, tmp_path: Path) -> Path:
    index(small, gallery, tmp_path / "index", IndexOptions(vae="square"))
    return tmp_path / "index"


def test_images_of_all_sizes_are_found_and_damaged_ones_are_named(
    small: OpenModel, gallery: Path, tmp_path: Path
) -> None:
    result = index(small, gallery, tmp_path / "index")
    assert result.items == 12 and list(result.changes.skipped) == ["a/broken.png"]
    for number in range(12):
        path = gallery / "ab"[number % 2] / f"{number:02}.png"
        first = search(small, str(path), tmp_path / "index", SearchOptions(3)).neighbors[0]
        assert (first.item, first.itself, first.label) == (f"{path.parent.name}/{path.name}", True, path.parent.name)
        assert first.distance == pytest.approx(0, abs=1e-6)
    again = index(small, gallery, tmp_path / "index")
    assert (again.changes.embedded, again.changes.unchanged) == (0, 12)


def test_edited_files_are_noticed_by_content(small: OpenModel, gallery: Path, made: Path) -> None:
    path = gallery / "a" / "00.png"
    before = path.stat()
    Image.new("RGB", (40, 40), "red").save(path)
    with open(path, "ab") as file:
        file.write(b"\0" * (before.st_size - path.stat().st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    os.utime(gallery / "b" / "01.png")  # touched, not edited
    changes = index(small, gallery, made).changes
    assert (changes.edited, changes.unchanged) == (1, 11)


def test_removed_and_renamed_files(small: OpenModel, gallery: Path, made: Path) -> None:
    (gallery / "a" / "00.png").unlink()
    (gallery / "b" / "01.png").rename(gallery / "b" / "ünï 日本.png")
    changes = index(small, gallery, made).changes
    assert (changes.added, changes.removed, changes.unchanged) == (1, 2, 10)
    names = [each.item for each in search(small, "b/ünï 日本.png", made, SearchOptions(100)).neighbors]
    assert names[0] == "b/ünï 日本.png" and len(names) == 11 and "a/00.png" not in names


def test_results_are_written(small: OpenModel, gallery: Path, made: Path, tmp_path: Path) -> None:
    result = search(small, str(gallery / "a" / "00.png"), made, SearchOptions(4), tmp_path / "found")
    assert [path.name for path in result.files] == ["search.png", "search.html", "search.json"]
    assert {"item", "index", "query", "k", "vae"} <= set(json.loads(result.files[2].read_text("utf-8")))
    assert all(-1 <= neighbor.similarity <= 1 for neighbor in result.neighbors)
    assert read_image(result.files[0]).width > 700
    page = result.files[1].read_text("utf-8")
    assert page.count("data:image/webp") == 5 and "a/00.png" in page
    record = json.loads(result.files[2].read_text("utf-8"))
    assert [each["item"] for each in record["neighbors"]] == [each.item for each in result.neighbors]


def test_the_query_itself_can_be_left_out(small: OpenModel, gallery: Path, made: Path) -> None:
    shutil.copy(gallery / "a" / "00.png", gallery / "b" / "copy.png")
    index(small, gallery, made)
    with_it = search(small, "a/00.png", made, SearchOptions(3))
    assert [each.item for each in with_it.neighbors][:2] == ["a/00.png", "b/copy.png"]
    without = search(small, "a/00.png", made, SearchOptions(3, exclude_itself=True))
    assert len(without.neighbors) == 3 and not any(each.itself for each in without.neighbors)
    assert with_it.neighbors[2].item == without.neighbors[0].item


def test_an_item_outside_the_index(small: OpenModel, made: Path, tmp_path: Path) -> None:
    near = picture(tmp_path / "near.png", 4, (44, 44))  # image 4 in another size
    first = search(small, str(near), made).neighbors[0]
    assert (first.item, first.itself) == ("a/04.png", False) and 0 < first.distance < 0.05


def test_moved_data(small: OpenModel, gallery: Path, made: Path, tmp_path: Path) -> None:
    gallery.rename(tmp_path / "moved")
    lost = search(small, "a/00.png", made, SearchOptions(2), tmp_path / "lost")
    assert [path.name for path in lost.files] == ["search.html", "search.json"] and "--data" in lost.notes[-1]
    options = SearchOptions(2, data=tmp_path / "moved")
    assert len(search(small, "a/00.png", made, options, tmp_path / "found").files) == 3
    assert index(small, tmp_path / "moved", made).changes.unchanged == 12


def test_other_data_are_refused(small: OpenModel, made: Path, tmp_path: Path) -> None:
    picture(tmp_path / "other" / "x.png", 50)
    with refuses(IndexMismatch, "other"):
        index(small, tmp_path / "other", made)
    with opened_for_search(made) as opened:
        assert len(opened) == 12


def test_one_image_only(small: OpenModel, tmp_path: Path) -> None:
    only = picture(tmp_path / "only.png", 1)
    assert index(small, only, tmp_path / "index").items == 1
    result = search(small, str(only), tmp_path / "index")
    assert [each.item for each in result.neighbors] == ["only.png"] and result.notes


def test_another_vae_is_refused(
    small: OpenModel, square_vae: Path, gallery: Path, made: Path, tmp_path: Path, model: OpenModel
) -> None:
    import torch

    from vaekit.checkpoints.load import load
    from vaekit.checkpoints.save import save

    vae = load(str(square_vae))
    with torch.no_grad():
        next(vae.parameters()).add_(0.01)
    save(vae, tmp_path / "other.safetensors")
    other = open_model(ModelOptions(str(tmp_path / "other.safetensors")), EngineOptions(device="cpu"))
    for refused in (other, model):
        with refuses(IndexMismatch, made):
            index(refused, gallery, made)
        with refuses(IndexMismatch, made):
            search(refused, str(picture(tmp_path / "new.png", 99)), made)
    assert index(small, gallery, made, IndexOptions(vae="square")).changes.unchanged == 12


def test_no_data(small: OpenModel, made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with refuses(NoTrainingData, "empty"):
        index(small, tmp_path / "empty", tmp_path / "new")
    with refuses(NotFound, "nowhere"):
        index(small, tmp_path / "nowhere", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_such_query(small: OpenModel, made: Path, gallery: Path, tmp_path: Path) -> None:
    with refuses(NotFound, "no-such-item"):
        search(small, "no-such-item", made)
    with refuses(BadItem, gallery):
        search(small, str(gallery), made)
    with refuses(BadItem, "broken.png"):
        search(small, str(gallery / "a" / "broken.png"), made)
    latents = tmp_path / f"x{SUFFIX}"
    latents.write_bytes(b"x")
    with refuses(BadItem, latents):
        search(small, str(latents), made)
    with refuses(BadIndex, tmp_path):
        search(small, "a/00.png", tmp_path)
    for k in (0, 10**9):
        with refuses(BadPlan, f"{k:,}"):
            search(small, "a/00.png", made, SearchOptions(k))


def test_bad_options(small: OpenModel, gallery: Path, tmp_path: Path) -> None:
    for options in (IndexOptions(embed="dinosaur"), IndexOptions(store="vault")):
        with refuses(BadPlan):
            index(small, gallery, tmp_path / "new", options)
    with refuses(NotFound, "species"):
        index(small, gallery, tmp_path / "new", IndexOptions(label="species"))


def test_functions_that_an_index_names_are_not_run(
    small: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_features.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\ndef means(x):\n    return x.mean(dim=(2, 3)) + 2\n"
    )
    monkeypatch.chdir(tmp_path)
    options = IndexOptions(embed="my_features:means", vae="square")
    assert index(small, gallery, tmp_path / "index", options).dimension == 3
    (tmp_path / "ran").unlink()
    new = str(picture(tmp_path / "new.png", 77))
    with refuses(BadPlan, "my_features:means"):
        search(small, new, tmp_path / "index")
    assert search(small, new, tmp_path / "index", SearchOptions(2, embed="my_features:means")).neighbors


def test_meaning_is_trained_once(
    small: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20, 40):
        picture(gallery / "ab"[number % 2] / f"{number:02}.png", number)
    trained = []

    def train(encoder: LatentEncoder, x: Tensor, labels: Any, options: MeaningOptions, _: Any) -> Meaning:
        trained.append(options.seed)
        return train_meaning(encoder, x, labels, replace(options, views=1, steps=3, batch=16))

    monkeypatch.setattr("vaekit.tasks.embeddings.train_meaning", train)
    options = IndexOptions(embed="meaning", vae="square", seed=3)
    made = index(small, gallery, tmp_path / "index", options)
    assert made.embedding["embedding"] == "meaning" and set(made.quality.precision) >= {"embedding", "pixels", "chance"}
    again = index(small, gallery, tmp_path / "index", options)
    assert again.changes.embedded == 0 and trained == [3]
    new = str(picture(tmp_path / "new.png", 77))
    assert len(search(small, new, tmp_path / "index", SearchOptions(3)).neighbors) == 3
    with refuses(IndexMismatch, "look", "meaning"):
        index(small, gallery, tmp_path / "index")
    index(small, gallery, tmp_path / "by look")
    with refuses(IndexMismatch, "look", "meaning"):
        index(small, gallery, tmp_path / "by look", options)
    assert len(trained) == 1
    (tmp_path / "index" / HEAD).unlink()
    with refuses(BadIndex, HEAD):
        index(small, gallery, tmp_path / "index", options)
    with refuses(BadIndex, HEAD):
        search(small, str(picture(tmp_path / "newer.png", 78)), tmp_path / "index")


def test_large_indexes_use_lancedb(
    small: OpenModel, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lancedb", reason="needs the package lancedb")
    result = index(small, gallery, tmp_path / "index", IndexOptions(store="lancedb"))
    assert (result.quality.store, result.quality.recall) == ("lancedb", 1)
    assert search(small, "a/00.png", tmp_path / "index").store == "lancedb"
    shutil.rmtree(tmp_path / "index" / "lance")
    damaged = search(small, "a/00.png", tmp_path / "index")
    assert damaged.store == "exact" and damaged.notes and damaged.neighbors[0].item == "a/00.png"
    (tmp_path / "index" / "lance.json").unlink()
    index(small, gallery, tmp_path / "index", IndexOptions(store="lancedb"))
    assert search(small, "a/00.png", tmp_path / "index").store == "lancedb"
    assert index(small, gallery, tmp_path / "index", IndexOptions(store="exact")).quality.store == "exact"
    again = search(small, "a/00.png", tmp_path / "index")
    assert again.store == "exact" and not again.notes
    monkeypatch.setattr("vaekit.tasks.index_quality.FEWEST", 5)
    monkeypatch.setitem(sys.modules, "lancedb", None)
    assert "vaekit[search]" in index(small, gallery, tmp_path / "other").quality.remark


def test_an_index_on_a_read_only_disk_is_searched(small: OpenModel, made: Path, gallery: Path) -> None:
    for path in (*made.iterdir(), made):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert search(small, "a/00.png", made).neighbors[0].item == "a/00.png"
    finally:
        made.chmod(0o755)
