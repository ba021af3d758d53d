"""Items whose tokens a VAE does not know are said to be of another kind."""

from pathlib import Path

import pytest
from small_tables import columns, save_table_vae, write_table
from small_text import SENTENCES, save_text_vae

from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.unknown_tokens import UnknownTokens
from vaekit.runtime.plan import Plan
from vaekit.tasks.encode import encode
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct
from vaekit.tasks.score import ScoreOptions, score

SMILES = ("CCO", "c1ccccc1")


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "vae.safetensors"
    save_text_vae(path)
    return path


@pytest.fixture(scope="module")
def model(vae: Path) -> OpenModel:
    return open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))


@pytest.mark.parametrize(("lines", "said"), [(SMILES, True), ((*SENTENCES, *SMILES[:1]), False)])
def test_every_verb_says_once_that_most_tokens_are_unknown(
    model: OpenModel, vae: Path, tmp_path: Path, lines: tuple[str, ...], said: bool
) -> None:
    data = tmp_path / "lines.txt"
    data.write_text("".join(f"{line}\n" for line in lines))
    options = EvaluateOptions(MeasureOptions(nll_samples=0))
    notes = [
        reconstruct(model, [data], tmp_path / "r").results[0].notes,
        encode(model, [data], tmp_path / "e").results[0].notes,
        score(model, data, tmp_path / "s.csv", ScoreOptions(str(vae), draws=2)).notes,
        evaluate_data(model.engine.vae, Plan(device="cpu"), data, options).notes,
        model.domain.read_all([data], model.schema, model.engine.geometry).notes["lines.txt"],
    ]
    assert [sum("vocabulary" in note for note in each) for each in notes] == [int(said)] * len(notes)


def test_rows_have_no_tokens(tmp_path: Path) -> None:
    table = columns()
    path = save_table_vae(tmp_path / "rows.safetensors", table)
    model = open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))
    loaded = model.domain.read(write_table(tmp_path / "t.csv", table), model.schema)
    unknown = UnknownTokens(model.schema, "rows")
    unknown.add(loaded.x)
    assert (unknown.every, unknown.note) == (0, ())
