"""Sentences given on the command line."""

from pathlib import Path

import pytest
from refusals import refuses
from small_tables import columns, save_table_vae
from small_text import save_text_vae

from vaekit.errors import NotFound
from vaekit.tasks.given import first_lines, given_files
from vaekit.tasks.interpolate import InterpolationOptions, interpolate
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    path = tmp_path_factory.mktemp("text") / "vae.safetensors"
    save_text_vae(path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


def test_texts_and_files_keep_their_order(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("It is late.\n")
    arguments = ["A dog runs.", "either/or // .", str(tmp_path / "s.txt"), "A cat.", "x" * 5000]
    paths = given_files(model, arguments, tmp_path / "out")
    assert [path.name for path in paths] == ["sentences.txt", "s.txt", "sentences-2.txt"]
    lines = [line for path in paths for line in first_lines(model, path)]
    assert lines == ["A dog runs.", "either/or // .", "It is late.", "A cat.", "x" * 5000]


def test_no_text_leaves_no_folder(model: OpenModel, tmp_path: Path) -> None:
    assert given_files(model, [str(tmp_path)], tmp_path / "out") == [tmp_path]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("argument", ["missing.txt", "missing.csv", "{}/missing", "", "  "])
def test_what_looks_like_a_path_is_one(model: OpenModel, tmp_path: Path, argument: str) -> None:
    with refuses(NotFound):
        given_files(model, [argument.format(tmp_path)], tmp_path / "out")


def test_rows_are_not_given_as_text(tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", columns())
    model = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    with refuses(NotFound, "1,2,3"):
        given_files(model, ["1,2,3"], tmp_path / "out")


def test_bytes_that_are_no_text(model: OpenModel, tmp_path: Path) -> None:
    (path,) = given_files(model, ["A dog\udcff\n runs."], tmp_path)
    assert first_lines(model, path) == ["A dog\ufffd  runs."]


def test_interpolation_returns_its_lines(model: OpenModel, tmp_path: Path) -> None:
    paths = given_files(model, ["A dog runs.", "It is late."], tmp_path)
    result = interpolate(model, paths, tmp_path, InterpolationOptions(steps=3))
    assert len(result.texts) == 5 and list(result.texts) == first_lines(model, tmp_path / "interpolation.txt")
