"""A scikit-learn transformer: rows of a table to latents and back."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from vaekit.estimators.estimator_files import loaded, save_folder
from vaekit.estimators.table_estimator import TableEstimator
from vaekit.estimators.table_input import InvalidInput
from vaekit.estimators.table_output import decoded_columns, frame_of

ROWS = 4096
"""Rows that are encoded or decoded together."""


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableEstimator):  # type: ignore[misc]
    """Latents of table rows with columns of several kinds: the means of the posteriors of a variational autoencoder.

    Args:
        columns: kinds of columns that are not to be inferred, by name, such as {"amount": "positive"}; columns of
            arrays are x0, x1, .... A kind is real, normal, positive, count, ordinal, ordinal:low,medium,high, date,
            binary, categorical, constant or ignored.
        latent_channels: the number of latent values; None for the recipe's.
        hidden: the widths of the hidden layers of the encoder; the decoder has them in reverse order. None for the
            recipe's.
        samples: the number of rows that are trained on, with repetitions; None for a number that follows from the size
            of the table.
        learning_rate: its peak; None for the recipe's.
        recipe: the name of a recipe for tables, or the path of a file.
        overrides: of single values of the recipe, such as "objective.terms.kl.weight=0.5".
        random_state: an integer for reproducible results; None for others each time. The global random generators of
            NumPy and torch are not changed.

    Attributes:
        vae_: the VAE; `vaekit.save` writes it.
        schema_: the columns that the VAE takes.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if the transformer was fitted with a frame.
    """

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

    def save(self, folder: str | Path) -> None:
        """Write the transformer as safetensors and JSON into a folder, which the command line takes as a VAE, too.

        Raises:
            NotFittedError: the transformer is not fitted.
            CannotWrite: the disk is full, or the folder is not writable.
        """
        check_is_fitted(self, "vae_")
        save_folder(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A transformer that `save` wrote; or one with the VAE of a detector, or of a run of `vaekit train tables`.

        Args:
            folder: of the estimator or of the run; or the VAE's file.

        Raises:
            NotFound: there is no such folder.
            BadCheckpoint, UnknownVAE, WrongTensors: a file is damaged, or something else.
        """
        return loaded(Path(folder), cls).estimator

    @property
    def _n_features_out(self) -> int:
        return self.vae_.geometry.latent_channels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
