"""Scores and explanations of sequences: lengths, batches, memory, and the texts of tokens."""

import csv
import math
from pathlib import Path

import pytest
import torch
from planted_tokens import SURE, planted_tokens

from vaekit.anomaly.scores import Scorer
from vaekit.checkpoints.save import save
from vaekit.distributions import sequences
from vaekit.domains.text.schema import TextSchema
from vaekit.families import assemble, family_with
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.sequence import SequenceConfig
from vaekit.tasks.explain import ExplainOptions, explain
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.score import ScoreOptions, score
from vaekit.tasks.scorer import scorer_of
from vaekit.vae import Origin

LINES = ["ab", "abcabcabcab", "ccc", "a", "bca"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An untrained VAE of sentences."""
    torch.manual_seed(0)
    config = PartsConfig(SequenceConfig(5, 12, 2, 8, 4), GaussianPart(), TokensPart())
    family = family_with(config)
    assert family is not None
    vae = assemble(family, config).eval()
    vae.origin = Origin("", lambda _: "", "text", TextSchema("characters", ("a", "b", "c"), 12).as_plain())
    save(vae, tmp_path / "text.safetensors")
    return tmp_path / "text.safetensors"


def opened(path: Path) -> OpenModel:
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


def written(path: Path) -> list[float]:
    with open(path, newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def scored(model: OpenModel, folder: Path, lines: list[str], name: str = "default") -> list[float]:
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    score(model, folder / "lines.txt", folder / "scores.csv", ScoreOptions(score=name, draws=8))
    return written(folder / "scores.csv")


def test_scores_are_per_token_by_default(path: Path, tmp_path: Path) -> None:
    model = opened(path)
    own, whole = scored(model, tmp_path, LINES), scored(model, tmp_path, LINES, "likelihood")
    assert own == pytest.approx([each / (len(line) + 1) for each, line in zip(whole, LINES, strict=True)])
    assert min(whole) == whole[1] and own[1] > min(own)


def test_scores_depend_on_nothing_else(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(path)
    every = scored(model, tmp_path, LINES)
    assert [scored(model, tmp_path, [line])[0] for line in LINES] == every
    assert scored(model, tmp_path, LINES[::-1])[::-1] == every
    monkeypatch.setattr(sequences, "AT_ONCE", 1)
    monkeypatch.setattr("vaekit.runtime.draws.CHUNK_VALUES", 1)
    assert scored(model, tmp_path, LINES) == every


def test_a_reference_and_all_scores(path: Path, tmp_path: Path) -> None:
    model = opened(path)
    data = tmp_path / "normal.txt"
    data.write_text("".join(f"{line}\n" for line in LINES * 3))
    options = ScoreOptions(str(path), [tmp_path], reference=data, draws=4)
    result = score(model, data, tmp_path / "scores.csv", options)
    assert result.score == "per-token" and result.threshold is not None and result.reference is not None
    for name in ("ensemble", "neighbors", "mahalanobis", "likelihood", "elbo", "per-token"):
        again = ScoreOptions(str(path), [tmp_path], score=name)
        assert score(model, data, tmp_path / f"{name}.csv", again).items == 15
        assert all(map(math.isfinite, written(tmp_path / f"{name}.csv")))
    found = explain(model, [data], None, ExplainOptions(str(path), [tmp_path], most=2))
    assert found.reference == result.reference
    assert list(found.scores) == pytest.approx(sorted(written(tmp_path / "per-token.csv"))[:2])
    assert all(len(each.reasons) >= 2 for each in found.explanations)
    assert {reason.value for each in found.explanations for reason in each.reasons} <= {"a", "b", "c", "(end)"}


def test_the_improbable_token_is_explained() -> None:
    """With a latent for "aaaaaa", a "b" costs 2 SURE nats."""
    model = planted_tokens()
    scorer = Scorer(scorer_of(model).halves, None, 1, dtype=torch.float64)
    z = torch.ones(1, 6, dtype=torch.float64)
    x = torch.tensor([[2, 2, 3, 2, 2, 2, 0]])
    factors = scorer.halves.likelihood(z, x).log_factors(x)  # type: ignore[attr-defined]
    assert factors[0, 2].item() == pytest.approx(-2 * SURE, abs=1e-3)
