"""Latents of rows, and rows of latents."""

import numpy as np
import pandas
import polars
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaekit import VAETransformer


def test_latents_have_names(transformer: VAETransformer, frame: pandas.DataFrame) -> None:
    latents = transformer.transform(frame)
    assert latents.shape == (len(frame), 8) and latents.dtype == np.float64
    assert list(transformer.get_feature_names_out()) == [f"vaetransformer{i}" for i in range(8)]


def test_rows_are_decoded_in_the_units_of_the_data(transformer: VAETransformer, frame: pandas.DataFrame) -> None:
    decoded = transformer.inverse_transform(transformer.transform(frame))
    assert list(decoded) == list(frame)
    assert np.corrcoef(decoded["y"], frame["y"])[0, 1] > 0.5
    assert decoded["day"].dtype.kind == "M" and decoded["day"].between(frame["day"].min(), frame["day"].max()).all()
    assert decoded["member"].dtype == bool and set(decoded["city"]) <= set(frame["city"])
    assert decoded["level"].isin(range(0, 23)).all() and (decoded["unit"] == "cm").all()


def test_arrays_are_decoded_to_arrays() -> None:
    rng = np.random.default_rng(0)
    rows = np.c_[rng.normal(5, 2, 60), rng.integers(0, 2, 60), np.full(60, np.nan)]
    transformer = VAETransformer(samples=500, latent_channels=3, random_state=0).fit(rows)
    decoded = transformer.inverse_transform(transformer.transform(rows))
    assert decoded.shape == (60, 3) and decoded.dtype == np.float64
    assert set(decoded[:, 1]) <= {0.0, 1.0} and np.isnan(decoded[:, 2]).all()
    with pytest.raises(ValueError, match="3 latent values"):
        transformer.inverse_transform(np.zeros((2, 4)))


@pytest.mark.parametrize(("library", "kind"), [("pandas", pandas.DataFrame), ("polars", polars.DataFrame)])
def test_the_output_is_a_frame_on_request(library: str, kind: type) -> None:
    rows = pandas.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"], index=range(5, 35))
    pipeline = make_pipeline(StandardScaler(), VAETransformer(samples=300, latent_channels=2, random_state=0))
    latents = pipeline.set_output(transform=library).fit_transform(rows)
    assert isinstance(latents, kind) and list(latents.columns) == ["vaetransformer0", "vaetransformer1"]
    assert library == "polars" or latents.index.equals(rows.index)


def test_a_polars_frame_comes_back_as_one(frame: pandas.DataFrame) -> None:
    given = polars.from_pandas(frame)
    transformer = VAETransformer(samples=300, random_state=0).fit(given)
    assert isinstance(transformer.inverse_transform(transformer.transform(given)), polars.DataFrame)
