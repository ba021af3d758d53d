"""A table with columns of several kinds, and estimators fitted to it."""

import numpy as np
import pandas
import pytest

from vaekit import VAEDetector, VAETransformer

SMALL_BATCHES = ("schedule.batch_size=32",)
CITIES = ("Oslo", "Lima", "Kyoto")


def mixed_frame(rows: int = 120, seed: int = 0) -> pandas.DataFrame:
    """Columns of every kind, some cells missing. `y` follows from `x`, and `level` from `city`."""
    rng = np.random.default_rng(seed)
    x, city = rng.normal(size=rows), rng.integers(0, 3, rows)
    amount = rng.lognormal(3, 1, rows)
    amount[rng.random(rows) < 0.1] = np.nan
    return pandas.DataFrame(
        {
            "x": x,
            "y": 3 * x + 100 + rng.normal(size=rows) / 10,
            "amount": amount,
            "city": pandas.Categorical(np.array(CITIES)[city]),
            "level": 10 * city + rng.integers(0, 3, rows),
            "member": rng.random(rows) < 0.3,
            "day": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(0, 365, rows), "D"),
            "unit": "cm",
            "note": np.where(rng.random(rows) < 0.5, None, "late"),
        }
    )


@pytest.fixture(scope="session")
def frame() -> pandas.DataFrame:
    return mixed_frame()


@pytest.fixture(scope="session")
def detector(frame: pandas.DataFrame) -> VAEDetector:
    """Not to be changed by tests."""
    return VAEDetector(samples=4000, hidden=(16,), overrides=SMALL_BATCHES, draws=8, random_state=0).fit(frame)


@pytest.fixture(scope="session")
def transformer(frame: pandas.DataFrame) -> VAETransformer:
    """Not to be changed by tests."""
    return VAETransformer(samples=6000, hidden=(16,), overrides=SMALL_BATCHES, random_state=0).fit(frame)
