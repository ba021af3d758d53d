"""What the estimators have in common: a VAE of table rows with the parameters of its training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit.datasets.row_chunks import RowChunk
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.schema import TableSchema
from vaekit.estimators.fitting import FitSettings, FittedVAE, fit_vae, seed_from
from vaekit.estimators.table_input import InvalidInput, checked_rows, library_of, value_errors, with_names
from vaekit.runtime.conversion import in_double
from vaekit.vae import VAE, Origin

CPU = torch.device("cpu")


class TableEstimator(BaseEstimator):  # type: ignore[misc]
    """A VAE of table rows. Scores and latents are computed in double precision on the CPU."""

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        latent_channels: int | None = None,
        hidden: Sequence[int] | None = None,
        samples: int | None = None,
        learning_rate: float | None = None,
        recipe: str = "tables",
        overrides: Sequence[str] = (),
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
        check_whole("samples", self.samples)
        check_whole("latent_channels", self.latent_channels)
        for width in self.hidden or ():
            check_whole("hidden", width)
        values = {
            "vae.net.latent_channels": self.latent_channels,
            "vae.net.hidden": None if self.hidden is None else [int(width) for width in self.hidden],
            "schedule.learning_rate": None if self.learning_rate is None else float(self.learning_rate),
        }
        changes = [f"{name}={value}" for name, value in values.items() if value is not None]
        return FitSettings(self.recipe, (*changes, *self.overrides), self.samples, self.columns)

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
        with value_errors():
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


def check_whole(name: str, value: Any) -> None:
    """Check a parameter that is a positive whole number, or None.

    Raises:
        InvalidInput: it is something else.
    """
    if value is None:
        return
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InvalidInput(f"{name} is {value!r}.", "Expected a whole number of at least 1.", "")


def check_share(name: str, value: Any, most: float) -> None:
    """Check a parameter that is a share above 0.

    Raises:
        InvalidInput: it is something else.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not 0 < value <= most
    ):
        raise InvalidInput(f"{name} is {value!r}.", f"Expected a number above 0, at most {most:g}.", "")
