"""A scikit-learn transformer: rows of a table to latents and back."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from vaekit.estimators.table_estimator import TableEstimator
from vaekit.estimators.table_input import InvalidInput
from vaekit.estimators.table_output import decoded_columns, frame_of

ROWS = 4096
"""Rows that are encoded or decoded together."""


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableEstimator):  # type: ignore[misc]
    """Latents of table rows: the means of the posteriors of a VAE."""

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train the VAE.

        Args:
            X: rows, a frame or an array (n, columns), with NaN or None for missing values.
            y: ignored.
        """
        self._fit_vae(X)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """The means of the posteriors of rows, (n, latent values), float64."""
        x = self._values(X)
        vae = self._double()
        with torch.no_grad():
            return torch.cat([vae.encode(part).mean.flatten(1) for part in x.double().split(ROWS)]).numpy()

    def inverse_transform(self, X: Any) -> Any:  # noqa: N803
        """Rows in the units of the data, the most likely ones for latents (n, latent values).

        Returns:
            A frame of the library of the one that the transformer was fitted with; or an array (n, columns), float64
            if all columns are numbers.
        """
        check_is_fitted(self, "vae_")
        z = np.array(check_array(X, dtype=np.float64, input_name="X", estimator=self))
        if z.shape[1] != self._n_features_out:
            raise InvalidInput(f"X has {z.shape[1]} columns.", f"Expected {self._n_features_out} latent values.", "")
        vae, schema = self._double(), self.schema_
        with torch.no_grad():
            x = torch.cat([vae.decode(part) for part in torch.from_numpy(z).split(ROWS)])
        return frame_of(decoded_columns(schema, x), self._library)

    @property
    def _n_features_out(self) -> int:
        return self.vae_.geometry.latent_channels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
