"""What the estimators have in common: a VAE of table rows with the parameters of its training."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit.datasets.row_chunks import RowChunk
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.schema import TableSchema
from vaekit.estimators.fitting import FitSettings, FittedVAE, fit_vae, seed_from
from vaekit.estimators.parameters import positive, text, text_by_name, texts, whole, wholes
from vaekit.estimators.table_input import InvalidInput, checked_rows, library_of, value_errors, with_names
from vaekit.json import dumps
from vaekit.runtime.conversion import in_double
from vaekit.vae import VAE, Origin

Parameter = TypeVar("Parameter")
CPU = torch.device("cpu")


class TableEstimator(BaseEstimator):  # type: ignore[misc]
    """A VAE of table rows. Scores and latents are computed in double precision on the CPU.

    As scikit-learn demands, parameters of any type are accepted at first, and checked by `fit`.
    """

    def __init__(
        self,
        *,
        columns: Any = None,
        latent_channels: Any = None,
        hidden: Any = None,
        samples: Any = None,
        learning_rate: Any = None,
        recipe: Any = "tables",
        overrides: Any = (),
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.latent_channels = latent_channels
        self.hidden = hidden
        self.samples = samples
        self.learning_rate = learning_rate
        self.recipe = recipe
        self.overrides = overrides
        self.random_state = random_state

    vae_: VAE
    """With the schema of the columns in its origin."""
    schema_: TableSchema
    """The columns that the VAE takes."""
    n_features_in_: int
    _features: tuple[str, ...]
    """The names of all columns of the input."""
    _library: str
    """The package of the frame that the estimator was fitted with; empty for an array."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _fit_vae(self, data: Any) -> tuple[RowChunk, FittedVAE, int]:
        """Train the VAE, and return the rows and the seed.

        Raises:
            ValueError, TypeError: the data or a parameter cannot be used.
        """
        seed = seed_from(self.random_state)
        settings = self._settings()
        chunk = checked_rows(self, data, fitting=True)
        with value_errors():
            fitted = fit_vae(chunk, settings, seed)
        self._use(fitted.vae, fitted.schema, tuple(chunk.columns), library_of(data))
        return chunk, fitted, seed

    def _use(self, vae: VAE, schema: TableSchema, features: tuple[str, ...], library: str) -> None:
        """Set the fitted attributes."""
        vae.origin = vae.origin or Origin("a VAE of table rows", no_makers, TABLES.name, schema.as_plain())
        self.vae_, self.schema_ = vae.requires_grad_(False), schema
        self._features, self._library = features, library

    def _settings(self) -> FitSettings:
        """The parameters.

        Raises:
            InvalidInput: one of them is invalid.
        """
        values = {
            "vae.net.latent_channels": given(whole, "latent_channels", self.latent_channels),
            "vae.net.hidden": given(wholes, "hidden", self.hidden),
            "schedule.learning_rate": given(positive, "learning_rate", self.learning_rate),
        }
        changes = [f"{name}={dumps(value, None)}" for name, value in values.items() if value is not None]
        return FitSettings(
            text("recipe", self.recipe),
            (*changes, *texts("overrides", self.overrides)),
            given(whole, "samples", self.samples),
            given(text_by_name, "columns", self.columns),
        )

    def _rows(self, data: Any) -> RowChunk:
        """Rows with the columns that the estimator was fitted with.

        Raises:
            NotFittedError: it is not fitted.
            ValueError, TypeError: the data cannot be used.
        """
        check_is_fitted(self, "vae_")
        return with_names(checked_rows(self, data, fitting=False), self._features)

    def _values(self, data: Any) -> Tensor:
        """Rows as the VAE takes them, (n, values).

        Raises:
            NotFittedError: the estimator is not fitted.
            ValueError, TypeError: the data cannot be used.
        """
        chunk = self._rows(data)
        with value_errors(), np.errstate(over="ignore"):  # numbers that are too large are problems
            x, problems = self.schema_.values(chunk)
        if problems:
            raise InvalidInput(problems[min(problems)], "", "Correct or remove the row.")
        return x

    def _double(self) -> VAE:
        """The VAE in double precision, in which results do not depend on the size of a batch."""
        return in_double(self.vae_, CPU)


def no_makers(_: int) -> str:
    """No known latent spaces of a number of channels."""
    return ""


def given(check: Callable[[str, Any], Parameter], name: str, value: Any) -> Parameter | None:
    """A checked parameter that may be None."""
    return None if value is None else check(name, value)
