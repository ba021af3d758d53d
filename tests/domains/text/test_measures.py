"""NLL per token, perplexity per word, unknown tokens and BLEU of sentences."""

import math
from pathlib import Path

import pytest
import torch
from small_text import SENTENCES, lines_of, save_text_vae, text_vae

from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.text.domain import TEXT
from vaekit.domains.text.fit import fit
from vaekit.domains.text.measures import tokenization, word_counts
from vaekit.evaluation.evaluate import Evaluation
from vaekit.evaluation.vae_pass import DirectRunner, VAEPass
from vaekit.families.parts.net import PointPart
from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions


def evaluated(folder: Path, unit: str, batch: int = 16) -> tuple[Evaluation, int]:
    """An evaluation, and the number of tokens with ends."""
    path = folder / f"{unit}.safetensors"
    schema = save_text_vae(path, unit)
    (folder / "t.txt").write_text("\n".join([*SENTENCES, "A bird runs."]))
    model = open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))
    options = EvaluateOptions(MeasureOptions(nll_samples=3), batch=batch)
    result = evaluate_data(model.engine.vae, model.engine.plan, folder / "t.txt", options)
    tokens = sum(len(each) + 1 for each in schema.encode([*SENTENCES, "A bird runs."]))
    return result.evaluation, tokens


@pytest.mark.parametrize("unit", ["words", "bytes", "characters"])
def test_perplexity_is_per_word_of_the_text(tmp_path: Path, unit: str) -> None:
    evaluation, tokens = evaluated(tmp_path, unit)
    values = {result.quantity.name: result.value for result in evaluation.results}
    assert not any("dimension" in name for name in values)
    words = sum(len(text.split()) + 1 for text in (*SENTENCES, "A bird runs."))
    assert values["nll_per_token"] == pytest.approx(5 * values["nll"] / tokens, rel=1e-6)
    assert values["word_perplexity"] == pytest.approx(math.exp(5 * values["nll"] / words), rel=1e-6)
    unknown = {"words": 100 / (tokens - 5), "bytes": 0, "characters": 100 * 1 / (tokens - 5)}  # "bird", "b"
    assert values["unknown_tokens"] == pytest.approx(unknown[unit])
    assert 0 <= values["bleu"] <= 100


def test_batches_do_not_matter(tmp_path: Path) -> None:
    one, other = (evaluated(tmp_path, "words", batch)[0] for batch in (1, 16))
    pooled = {"nll_per_token", "word_perplexity", "unknown_tokens"}
    left, right = ({each.quantity.name: each.value for each in every.results} for every in (one, other))
    assert {name: left[name] for name in pooled} == pytest.approx({name: right[name] for name in pooled}, rel=1e-5)


def test_without_samples_there_is_no_perplexity(tmp_path: Path) -> None:
    save_text_vae(tmp_path / "vae.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")), EngineOptions(device="cpu"))
    options = MeasureOptions(nll_samples=0)
    measures, _ = TEXT.measures(model.engine.vae, model.schema, options, torch.device("cpu"))
    names = {each.name for each in measures.pooled}
    assert "nll_per_token" not in names and {"bleu", "unknown_tokens"} <= names


def test_tokenizations_are_named() -> None:
    names = [tokenization(fit(lines_of(SENTENCES), unit, 300, 64)) for unit in ("words", "bpe", "bytes", "characters")]
    assert len(set(names)) == 4 and "16" in names[0]
    lower = fit(lines_of(SENTENCES), "words", 300, 64, lowercase=True)
    assert tokenization(lower) not in names


def test_words_are_what_is_between_white_space() -> None:
    schema = fit(lines_of(["so, it  is !", "a"]), "words", 300, 64)
    assert word_counts(schema, schema.to_tensor(lines_of(["so, it  is !", "a"]))).tolist() == [4, 1]


def test_the_nll_of_a_language_model_is_exact() -> None:
    vae, schema = text_vae(posterior=PointPart(), encoder="none")
    x = schema.to_tensor(lines_of(SENTENCES))
    measures, missing = TEXT.measures(vae, schema, MeasureOptions(), torch.device("cpu"))
    vae_pass = VAEPass(SENTENCES, x, DirectRunner(vae), 0, False)
    values = {name: each for measure in measures.items for name, each in measure.compute(vae_pass).items()}
    expected = -vae.likelihood(torch.zeros(4, 2)).log_prob(x)
    torch.testing.assert_close(values["nll"], expected.double())
    assert {"nll_per_token", "bleu"} <= {each.name for each in measures.pooled}
    assert "nll" not in missing and "kl" in missing
    plain, _ = text_vae(posterior=PointPart())
    assert "nll" in TEXT.measures(plain, schema, MeasureOptions(), torch.device("cpu"))[1]
