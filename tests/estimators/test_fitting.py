"""Training on tables in memory."""

import sys

import numpy as np
import pytest
from refusals import refuses

import vaekit
from vaekit import VAEDetector
from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, MissingPackage
from vaekit.estimators import detector as module
from vaekit.estimators.fitting import STEPS_PER_ROW, FitSettings, budget, recipe_for, seed_from
from vaekit.metrics.detection import auroc
from vaekit.training.schedule import Schedule

SCHEDULE = Schedule(samples=100_000, batch_size=64, learning_rate=1e-3, warmup_samples=5_000)


def test_a_large_table_has_the_schedule_of_the_recipe() -> None:
    assert budget(1_000_000, SCHEDULE) == {"samples": 100_000, "batch_size": 64, "warmup_samples": 5_000}


def test_a_small_table_has_fewer_samples_and_smaller_batches() -> None:
    samples = 20 * 20 * STEPS_PER_ROW
    assert budget(20, SCHEDULE) == {"samples": samples, "batch_size": 20, "warmup_samples": samples // 20}
    assert budget(20, SCHEDULE, 100) == {"samples": 100, "batch_size": 20, "warmup_samples": 5}


def test_overrides_go_before_parameters_and_these_before_the_recipe() -> None:
    settings = FitSettings(changes=("schedule.batch_size=7", "vae.net.hidden=[5]"), samples=30)
    chosen = recipe_for(1000, settings)
    assert chosen.schedule().batch_size == 7 and chosen.schedule().samples == 30
    assert chosen.schedule().learning_rate == recipe("tables").schedule().learning_rate
    with refuses(BadRecipe, "text"):
        recipe_for(10, FitSettings(recipe="text"))


def test_seeds() -> None:
    assert seed_from(7) == seed_from(np.int64(7)) == 7
    assert seed_from(np.random.RandomState(0)) == seed_from(np.random.RandomState(0))
    assert len({seed_from(None) for _ in range(5)}) > 1
    for wrong in (-1, "a", 1.5, np.random.default_rng(0)):
        with pytest.raises(ValueError):
            seed_from(wrong)


def test_statistics_of_large_tables_are_those_of_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LATENTS", 50)
    monkeypatch.setattr("vaekit.estimators.fitting.MAX_ROWS_TO_FIT", 100)
    rows = np.random.default_rng(0).normal(size=(400, 2))
    detector = VAEDetector(samples=300, draws=2, random_state=0).fit(rows)
    assert detector.reference_.items == 50
    assert 0 < (detector.predict(rows) == -1).sum() < 60


def test_without_scikit_learn_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vaekit.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in ("VAEDetector", "VAETransformer"):
        with refuses(MissingPackage, "sklearn", "pip install 'vaekit[analysis]'"):
            getattr(vaekit, name)


def test_a_cluster_of_anomalies_in_the_training_rows_is_not_learned() -> None:
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(270, 4)), random.normal(4, 0.3, size=(30, 4))])
    detector = VAEDetector(recipe="tables-contaminated", draws=8, random_state=0).fit(rows)
    scores = detector.score_samples(rows)
    assert auroc(-scores, np.arange(300) >= 270) > 0.95


def test_a_short_recipe_stays_short_for_small_tables() -> None:
    short = FitSettings(recipe="tables-contaminated")
    samples = recipe(short.recipe).schedule().samples
    assert samples < recipe("tables").schedule().samples
    assert [recipe_for(rows, short).schedule().samples for rows in (200, 100_000)] == [samples, samples]
    assert recipe_for(20, short).objective().min_items <= 20
