"""Sentences as a domain: training data, files, and sentences that cannot be used."""

from pathlib import Path

import pytest
import torch
from refusals import refuses
from small_text import SENTENCES, save_text_vae

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.find import domain_named
from vaekit.domains.recipes import recipe
from vaekit.domains.text.domain import TEXT
from vaekit.domains.token_source import Tokens
from vaekit.errors import BadItem, BadRecipe, NoTrainingData
from vaekit.tasks.encode import encode
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    path = tmp_path_factory.mktemp("text") / "vae.safetensors"
    save_text_vae(path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


@pytest.mark.parametrize("unit", ["words", "bpe"])
def test_training_data_are_small(tmp_path: Path, unit: str) -> None:
    (tmp_path / "t.txt").write_text("\n".join([*SENTENCES * 10, "word " * 100]) + "\n")
    table = {"unit": unit, "length": 30, "vocabulary": 300, "held_out": 4}
    log = SkipLog()
    splits = TEXT.open(tmp_path / "t.txt", log)
    schema = TEXT.schema(table, splits)
    data = TEXT.training_data(table, splits, schema, 0, log)
    assert isinstance(data.source, Tokens) and data.held_out is not None
    assert data.source.stored.dtype.itemsize < 4 and len(data.source) + len(data.held_out) == 40
    batch = data.source.batch(torch.arange(5), 0)
    assert batch.dtype == data.held_out.dtype == torch.long
    assert set(schema.to_items(batch)) <= set(SENTENCES)
    assert list(log.reasons) == ["t.txt:41"] and "100" in log.reasons["t.txt:41"]


def test_no_sentence_fits(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one sentence only\n")
    splits = TEXT.open(tmp_path / "t.txt", SkipLog())
    assert len(TEXT.training_data({}, splits, TEXT.schema({}, splits), 0, SkipLog()).source) == 1
    with refuses(NoTrainingData, "2", "3"):
        TEXT.schema({"unit": "words", "length": 2}, splits)


@pytest.mark.parametrize(
    "table",
    [{"unit": "syllables"}, {"vocabulary": 0}, {"length": 0}, {"min_count": 0}, {"unit": "bpe", "vocabulary": 100}],
)
def test_settings_that_make_no_sense(table: dict[str, object]) -> None:
    with pytest.raises(BadRecipe):
        TEXT.check_table(table)


def test_sentences_that_cannot_be_used_stay_in_their_places(model: OpenModel, tmp_path: Path) -> None:
    source, out = tmp_path / "s.txt", tmp_path / "out"
    long = "dog " * 100
    source.write_text(f"A cat runs.\n\nA \0 dog.\n{long}\n{'x' * 70_000}\nIt is late.\n")
    (result,) = reconstruct(model, [source], out, side_by_side=True).results
    written = (out / "s.txt").read_text().split("\n")
    assert len(written) == 6 and written[1:4] == ["A \0 dog.", long.strip(), "x" * 70_000]
    assert written[0] == model.schema.to_items(model.engine.decode(encoded(model, "A cat runs."), ()))[0]
    (note,) = result.notes
    assert all(fact in note for fact in ("s.txt:3", "s.txt:4", "s.txt:5", "3 of 5"))
    pairs = (out / "s.side-by-side.txt").read_text().splitlines()
    assert [pair.split("\t") for pair in pairs[1:4]] == [[line, line] for line in written[1:4]]
    assert pairs[0] == f"A cat runs.\t{written[0]}" and pairs[-1].startswith("It is late.\t")


def test_the_defaults_of_units_agree() -> None:
    assert TEXT.settings_from({}).unit == recipe("text").data["unit"]


@pytest.mark.parametrize("key", ["vocabulary", "length"])
def test_a_recipe_cannot_override_what_follows_from_the_data(model: OpenModel, key: str) -> None:
    follows = model.schema.vae_settings()
    model.domain.check_fit(model.schema, recipe("text").with_defaults(follows))
    with refuses(BadRecipe, f"net.{key}", "5"):
        model.domain.check_fit(model.schema, recipe("text", [f"vae.net.{key}=5"]).with_defaults(follows))


def test_how_a_file_was_read_is_a_note(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes("A caf\u00e9.\n".encode("cp1252"))
    for results in (
        reconstruct(model, [tmp_path], tmp_path / "a").results,
        encode(model, [tmp_path], tmp_path / "b").results,
    ):
        assert len(results[0].notes) == 1 and "Windows-1252" in results[0].notes[0]
    loaded = model.domain.read_all([tmp_path / "s.txt"], model.schema, model.engine.geometry)
    assert "Windows-1252" in loaded.notes["s.txt"][0]


def encoded(model: OpenModel, text: str) -> torch.Tensor:
    from vaekit.datasets.dataset import Line

    return model.engine.encode(model.schema.to_tensor([Line("t:1", text)])).mode


def test_rows_without_text_stay_in_their_places(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('n,text\n1,A cat runs.\n2,\n3,"A\nb"\n4,a,b\n')
    (result,) = reconstruct(model, [tmp_path / "s.csv"], tmp_path / "out").results
    lines = (tmp_path / "out" / "s.txt").read_text().split("\n")
    assert len(lines) == 5 and lines[1] == lines[3] == lines[4] == ""
    assert "s.csv:3" in result.notes[0] and "s.csv:6" in result.notes[0]


def test_nothing_but_sentences_that_cannot_be_used(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("dog " * 100)
    with refuses(BadItem, "s.txt:1", "100"):
        model.domain.read(tmp_path / "s.txt", model.schema)


def test_generated_line_ends_do_not_end_a_line(model: OpenModel, tmp_path: Path) -> None:
    model.domain.write(["a\nb", "c\r\nd", "e"], tmp_path / "t.txt", model.schema)
    assert (tmp_path / "t.txt").read_bytes() == b"a b\nc d\ne\n"
    model.domain.write_pairs(["a\nb"], ["c"], tmp_path / "p.txt", model.schema)
    assert (tmp_path / "p.txt").read_bytes() == b"a b\tc\n"


def test_the_domain_reads_tables_and_lines() -> None:
    assert domain_named("text") is TEXT
    assert {".txt", ".gz", ".csv", ".tsv", ".parquet", ".arrow"} <= TEXT.suffixes
