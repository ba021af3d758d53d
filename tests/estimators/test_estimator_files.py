"""Folders of estimators, and runs of the command line as estimators."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from refusals import refuses

import vaekit
from vaekit import VAEDetector, VAETransformer
from vaekit.errors import BadCheckpoint, CannotWrite, NotFound, UnknownDomain
from vaekit.estimators.estimator_files import RECORD
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.score import ScoreOptions, score
from vaekit.tasks.train import TrainOptions, train


@pytest.fixture
def saved(detector: VAEDetector, tmp_path: Path) -> Path:
    detector.save(tmp_path / "detector")
    return tmp_path / "detector"


@pytest.fixture(scope="session")
def run(frame: pandas.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE that the command line trained for a moment."""
    folder = tmp_path_factory.mktemp("run")
    frame.to_csv(folder / "data.csv", index=False)
    train(TrainOptions("tables", folder / "data.csv", folder / "run", samples=64, device="cpu"))
    return folder / "run"


def test_the_command_line_scores_with_a_detector(
    saved: Path, detector: VAEDetector, frame: pandas.DataFrame, tmp_path: Path
) -> None:
    frame.to_csv(tmp_path / "data.csv", index=False)
    options = ScoreOptions(vae=str(saved))
    result = score(open_model(ModelOptions(str(saved))), tmp_path / "data.csv", tmp_path / "scores.csv", options)
    with open(tmp_path / "scores.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert np.allclose([float(row["score"]) for row in rows], detector.score_samples(frame), rtol=1e-8)
    assert [row["flagged"] == "1" for row in rows] == (detector.predict(frame) == -1).tolist()
    assert result.threshold is not None and result.threshold.value == detector.offset_


def test_thresholds_and_parameters_are_saved(detector: VAEDetector, frame: pandas.DataFrame, tmp_path: Path) -> None:
    detector.save(tmp_path)
    VAEDetector.load(tmp_path).set_threshold(frame, contamination=0.25).save(tmp_path)
    loaded = VAEDetector.load(tmp_path)
    assert loaded.offset_ > detector.offset_ and loaded.threshold_.wanted == 0.25
    assert loaded.get_params() == {**detector.get_params(), "hidden": [16], "overrides": ["schedule.batch_size=32"]}
    assert list(loaded.feature_names_in_) == list(frame) and loaded.n_features_in_ == 9
    loaded.set_params(score_type="ensemble")
    assert np.isfinite(loaded.score_samples(frame)).all()


def test_a_detector_is_a_transformer_too(saved: Path, frame: pandas.DataFrame, tmp_path: Path) -> None:
    transformer = VAETransformer.load(saved)
    latents = transformer.transform(frame)
    transformer.save(tmp_path / "transformer")
    again = VAETransformer.load(tmp_path / "transformer")
    assert np.array_equal(again.transform(frame), latents)
    assert again.inverse_transform(latents).equals(transformer.inverse_transform(latents))


def test_arrays_have_no_names(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    detector = VAEDetector(samples=300, draws=2, random_state=np.random.RandomState(0)).fit(rows)
    detector.save(tmp_path)
    loaded = VAEDetector.load(tmp_path)
    assert not hasattr(loaded, "feature_names_in_") and loaded.random_state is None
    assert np.array_equal(loaded.score_samples(rows), detector.score_samples(rows))


def test_a_run_of_the_command_line(run: Path, frame: pandas.DataFrame) -> None:
    with refuses(NotFound, "normal"):
        VAEDetector.load(run)
    detector = VAEDetector.load(run, normal=frame)
    assert (detector.predict(frame) == -1).sum() == 6
    assert list(detector.feature_names_in_) == list(frame)
    assert VAETransformer.load(run / "vae.safetensors").transform(frame).shape == (120, 8)
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[list(frame)[::-1]])


def test_statistics_of_the_command_line_are_taken(run: Path, frame: pandas.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    vaekit.save(vaekit.load(run), folder / "vae.safetensors")
    data = run.parent / "data.csv"
    options = ScoreOptions(vae=str(folder), reference=data)
    result = score(open_model(ModelOptions(str(folder))), data, tmp_path / "scores.csv", options)
    detector = VAEDetector.load(folder)
    assert result.threshold is not None and detector.offset_ == result.threshold.value
    assert (detector.predict(frame) == -1).sum() == result.flagged


def test_damaged_records_are_refused(saved: Path) -> None:
    good = json.loads((saved / RECORD).read_text("utf-8"))
    for text in (
        "{",
        "[]",
        json.dumps({**good, "version": 2}),
        json.dumps({**good, "vae": "0" * 64}),
        json.dumps({**good, "features": ["x"]}),
        json.dumps({**good, "features": [1]}),
        json.dumps({**good, "more": 1}),
        json.dumps({**good, "library": "os"}),
        json.dumps({**good, "parameters": 3}),
    ):
        (saved / RECORD).write_text(text, "utf-8")
        with refuses(BadCheckpoint, RECORD):
            VAEDetector.load(saved)


def test_other_vaes_and_places_are_refused(detector: VAEDetector, tmp_path: Path) -> None:
    with refuses(NotFound, "nothing"):
        VAEDetector.load(tmp_path / "nothing")
    vaekit.save(vaekit.load("builtin"), tmp_path / "image.safetensors")
    with refuses(UnknownDomain, "images"):
        VAEDetector.load(tmp_path / "image.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite):
        detector.save(tmp_path / "file")
