"""Outliers in tables, with thresholds and reasons."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaekit import VAEDetector, VaekitError
from vaekit.anomaly.reference import SCORES


def changed(frame: pandas.DataFrame, row: int, **cells: object) -> pandas.DataFrame:
    """A copy of the frame with other cells in a row."""
    other = frame.copy()
    for name, cell in cells.items():
        other.loc[row, name] = cell
    return other


def test_an_unusual_cell_is_found_and_explained(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    other = changed(frame, 7, y=160.0)
    assert detector.predict(other)[7] == -1
    assert detector.score_samples(other)[7] < detector.score_samples(frame).min()
    assert detector.explain(other).loc[7].idxmax() == "y"
    assert np.array_equal(np.delete(detector.predict(other), 7), np.delete(detector.predict(frame), 7))


def test_the_contamination_is_the_share_of_flagged_rows(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    assert (detector.predict(frame) == -1).sum() == round(0.05 * len(frame))
    assert detector.threshold_.rule == "contamination" and detector.threshold_.wanted == 0.05


def test_frames_of_pandas_and_polars_have_equal_scores(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    other = polars.from_pandas(frame)
    assert np.array_equal(detector.score_samples(other), detector.score_samples(frame))
    reasons = detector.explain(other)
    assert isinstance(reasons, polars.DataFrame) and reasons.columns == list(frame)
    assert np.array_equal(reasons.to_numpy(), detector.explain(frame).to_numpy())


def test_an_array_of_objects_may_have_texts() -> None:
    rows = np.array([[number / 7, "even" if number % 2 else "odd", None] for number in range(40)], object)
    detector = VAEDetector(samples=500, draws=2, random_state=0).fit(rows)
    assert [column.kind for column in detector.schema_.columns] == ["real", "binary", "constant"]
    assert detector.explain(rows).shape == (40, 3)


def test_the_reasons_sum_to_the_reconstruction_for_one_draw(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    single = VAEDetector(samples=500, hidden=(8,), draws=1, score_type="reconstruction", random_state=0).fit(frame)
    assert single.reference_.factors is not None
    usual = single.reference_.factors.mean.double()
    reasons, scores = single.explain(frame), single.score_samples(frame)
    present = frame.notna().to_numpy()
    order = [column.name for column in single.schema_.ordered]
    means = dict(zip(order, usual.tolist(), strict=True))
    baseline = present @ np.array([means[name] for name in frame])
    assert np.allclose(reasons.to_numpy().sum(axis=1) + baseline, -scores)
    assert (reasons.to_numpy()[~present] == 0).all()


def test_ignored_columns_have_no_influence(frame: pandas.DataFrame) -> None:
    kinds = {"day": "ignored", "x": "normal"}
    detector = VAEDetector(columns=kinds, samples=500, draws=2, random_state=0).fit(frame)
    other = changed(frame, 0, day=pandas.Timestamp("1900-01-01"))
    assert np.array_equal(detector.score_samples(other), detector.score_samples(frame))
    assert detector.n_features_in_ == frame.shape[1] and (detector.explain(other)["day"] == 0).all()


@pytest.mark.parametrize("score_type", SCORES)
def test_every_score_has_a_threshold_without_another_fit(
    detector: VAEDetector, frame: pandas.DataFrame, score_type: str
) -> None:
    other = pickle.loads(pickle.dumps(detector)).set_params(score_type=score_type)
    scores = other.score_samples(frame)
    assert scores.shape == (len(frame),) and np.isfinite(scores).all()
    assert 0 < (other.predict(frame) == -1).sum() <= round(0.05 * len(frame)) + 1


def test_thresholds(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    other = pickle.loads(pickle.dumps(detector))
    scores = other.score_samples(frame)
    assert (other.set_threshold(frame, contamination=0.2).predict(frame) == -1).sum() == 24
    other.set_threshold(frame, false_positive_rate=0.1)
    assert (other.predict(frame) == -1).sum() == 11  # one less than 0.1 * 121
    for labels in (np.where(scores < np.sort(scores)[9], -1, 1), scores < np.sort(scores)[9]):
        other.set_threshold(frame, labels)
        assert np.array_equal(other.predict(frame) == -1, scores < np.sort(scores)[9])
        assert other.threshold_.recall == 1
    assert np.array_equal(other.score_samples(frame), scores)
    for wrong in ({}, {"contamination": 0.1, "false_positive_rate": 0.1}, {"contamination": 0.7}, {"y": [1] * 120}):
        with pytest.raises(ValueError):
            other.set_threshold(frame, **wrong)
    with pytest.raises(ValueError, match="3 labels"):
        other.set_threshold(frame, [0, 1, 0])


def test_another_process_computes_bit_equal_scores(
    detector: VAEDetector, frame: pandas.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "both.pickle").write_bytes(pickle.dumps((detector, frame)))
    detector.save(tmp_path / "saved")
    code = (
        "import pickle, numpy, vaekit\n"
        "detector, frame = pickle.load(open('both.pickle', 'rb'))\n"
        "loaded = vaekit.VAEDetector.load('saved')\n"
        "for name, one in (('pickled', detector), ('loaded', loaded)):\n"
        "    numpy.save(name, [one.score_samples(frame), one.predict(frame), *one.explain(frame).to_numpy().T])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    reasons = detector.explain(frame).to_numpy()
    expected = [detector.score_samples(frame), detector.predict(frame), *reasons.T]
    for name in ("pickled", "loaded"):
        assert np.array_equal(np.load(tmp_path / f"{name}.npy"), expected)


def test_a_seed_determines_the_result_and_global_generators_stay(frame: pandas.DataFrame) -> None:
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    estimator = VAEDetector(samples=300, draws=2)
    one, two, other = (clone(estimator).set_params(random_state=seed).fit(frame) for seed in (3, 3, None))
    assert np.array_equal(one.score_samples(frame), two.score_samples(frame))
    assert not np.array_equal(one.score_samples(frame), other.score_samples(frame))
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])
    assert torch.equal(torch.get_rng_state(), torch_state)
    generator = np.random.RandomState(5)
    first = clone(estimator).set_params(random_state=generator)
    assert np.array_equal(
        first.fit(frame).score_samples(frame),
        clone(estimator).set_params(random_state=np.random.RandomState(5)).fit(frame).score_samples(frame),
    )


def test_pipelines_and_grid_search() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, 3)), np.r_[np.ones(54), -np.ones(6)]
    rows[54:] += 12
    pipeline = make_pipeline(StandardScaler(), VAEDetector(samples=500, draws=2, random_state=0))
    assert set(pipeline.fit_predict(rows)) == {1, -1}
    search = GridSearchCV(
        pipeline, {"vaedetector__contamination": [0.02, 0.1]}, scoring="f1", cv=2, refit=False, error_score="raise"
    )
    search.fit(rows[rng.permutation(60)], labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_not_fitted() -> None:
    for method in ("score_samples", "predict", "explain"):
        with pytest.raises(NotFittedError):
            getattr(VAEDetector(), method)([[0.0]])
    assert not hasattr(VAEDetector(), "offset_")


@pytest.mark.parametrize(
    "parameters",
    [
        {"contamination": 0.0},
        {"contamination": 0.6},
        {"contamination": "auto"},
        {"score_type": "likelyhood"},
        {"draws": 0},
        {"draws": 2**16 + 1},
        {"samples": -1},
        {"samples": 2.5},
        {"hidden": (0,)},
        {"latent_channels": 0},
        {"learning_rate": -1.0},
        {"recipe": "cnn"},
        {"recipe": "no such recipe"},
        {"overrides": ("schedule.learning_rat=1",)},
        {"columns": {"no such column": "real"}},
        {"columns": {"x": "no such kind"}},
        {"random_state": "a"},
        {"random_state": -1},
    ],
)
def test_invalid_parameters_are_refused(frame: pandas.DataFrame, parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        VAEDetector(**{"samples": 64, **parameters}).fit(frame)


def test_cells_that_cannot_be_scored_are_named(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    texts = frame.astype({"x": object})
    for cell in (np.inf, "abc"):
        with pytest.raises(ValueError, match=r"X\[3\].*column x") as caught:
            detector.score_samples(changed(texts, 3, x=cell))
        assert isinstance(caught.value, VaekitError)


def test_unseen_categories_are_unlikely(detector: VAEDetector, frame: pandas.DataFrame) -> None:
    other = changed(frame.astype({"city": object}), 0, city="Ulm")
    assert detector.score_samples(other)[0] < detector.score_samples(frame)[0] - 2
    assert detector.explain(other).loc[0].idxmax() == "city"
