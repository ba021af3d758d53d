"""A scikit-learn outlier detector for tables: scores of rows by a VAE, thresholds, and reasons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit.anomaly.attribution import attributions
from vaekit.anomaly.labels import normal_label, plain_label
from vaekit.anomaly.reference import MOST_LATENTS, Reference, ReferenceFit
from vaekit.anomaly.reference_files import MOST_DRAWS
from vaekit.anomaly.scores import DRAWS, LIKELIHOOD, Scorer, check_has_prior
from vaekit.anomaly.thresholds import F1, Threshold, by_contamination, by_false_positive_rate, by_labels
from vaekit.errors import NotFound
from vaekit.estimators.estimator_files import loaded, save_folder
from vaekit.estimators.parameters import positive, text, whole
from vaekit.estimators.table_estimator import CPU, TableEstimator
from vaekit.estimators.table_input import InvalidInput, is_frame, library_of, value_errors
from vaekit.estimators.table_output import frame_of
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.tasks.reference import DEFAULT_CONTAMINATION, ThresholdOptions, thresholds
from vaekit.tasks.score import check_score
from vaekit.tasks.scoring import score_named

MOST_CONTAMINATION = 0.5
VALUES, MOST_ROWS = 2**20, 4096
"""The maximum numbers of values and of rows that are scored together. Scores do not depend on them."""


class VAEDetector(OutlierMixin, TableEstimator):  # type: ignore[misc]
    """Outlier detection in tables with columns of several kinds, by a variational autoencoder.

    The VAE is trained on rows that are mostly normal. The score of a row is high if it is normal.

    Example:
        >>> import numpy as np
        >>> normal = np.random.default_rng(0).normal(size=(100, 2))
        >>> detector = VAEDetector(samples=2000, random_state=0).fit(normal)
        >>> detector.predict([[0.0, 0.0], [9.0, -9.0]])
        array([ 1, -1])

    Args:
        score_type: "likelihood", the log-likelihood, in nats; "elbo", "reconstruction" or "kl", its parts;
            "mahalanobis" or "neighbors", distances of latents; "ensemble" of likelihood and neighbors. It may be
            changed after fitting.
        contamination: the share of the training rows that `predict` flags, in (0, 0.5]; those of "neighbors" and
            "ensemble" are not compared with themselves for it. There is no "auto": the likelihood of a table has no
            value that is unusual in every table. See `set_threshold` for other thresholds.
        draws: the number of latents for each row; more make the score more exact.
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
        reference_: the statistics of the training rows, with thresholds.
        offset_: the score below which a row is an outlier.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if the detector was fitted with a frame.
    """

    reference_: Reference

    def __init__(
        self,
        *,
        score_type: Any = LIKELIHOOD,
        contamination: Any = DEFAULT_CONTAMINATION,
        draws: Any = DRAWS,
        columns: Any = None,
        latent_channels: Any = None,
        hidden: Any = None,
        samples: Any = None,
        learning_rate: Any = None,
        recipe: Any = "tables",
        overrides: Any = (),
        random_state: Any = None,
    ) -> None:
        super().__init__(
            columns=columns,
            latent_channels=latent_channels,
            hidden=hidden,
            samples=samples,
            learning_rate=learning_rate,
            recipe=recipe,
            overrides=overrides,
            random_state=random_state,
        )
        self.score_type = score_type
        self.contamination = contamination
        self.draws = draws

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train the VAE, and determine the threshold.

        Args:
            X: rows, most of them normal: a frame of pandas or polars, or an array (n, columns). NaN and None are
                missing values.
            y: ignored.

        Raises:
            ValueError, TypeError: the data or a parameter cannot be used.
        """
        self._check_parameters()
        chunk, fitted, seed = self._fit_vae(X)
        with value_errors():
            check_has_prior(self.score_type, fitted.vae.prior)
            self._fit_reference(fitted.rows, chunk.names, seed)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """How normal rows are, (n,); higher is more normal.

        Raises:
            NotFittedError: the detector is not fitted.
            ValueError, TypeError: the data cannot be used.
        """
        x = self._values(X)
        with value_errors():
            check_score(self.score_type)
            scorer = self._scorer(self.reference_.draws, self.reference_.seed)
            scores = [score_named(self.score_type, part, scorer, self.reference_) for part in parts_of(x)]
        return torch.cat(scores).numpy()

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The scores minus `offset_`, (n,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: N803
        """-1 for outliers, 1 for normal rows, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any) -> Any:  # noqa: N803
        """The contribution of each column to the abnormality of rows, in nats.

        It is minus the log-likelihood of the column's value, given the latents of the row, minus its mean over the
        training rows: positive for values that are less likely than usual. Missing values and ignored columns have 0.

        Returns:
            (n, columns); a frame of the same library, if X is one.
        """
        x = self._values(X)
        with value_errors():
            scorer = self._scorer(self.reference_.draws, self.reference_.seed)
            parts = [attributions(scorer.evidence(part, factors=True), self.reference_) for part in parts_of(x)]
        found = dict(zip((column.name for column in self.schema_.ordered), torch.cat(parts).double().T, strict=True))
        none = torch.zeros(len(x), dtype=torch.float64)
        columns = {name: found.get(name, none).numpy() for name in self._features}
        return frame_of(columns, library_of(X), getattr(X, "index", None) if is_frame(X) else None)

    def set_threshold(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        *,
        contamination: float | None = None,
        false_positive_rate: float | None = None,
        rule: str = F1,
    ) -> Self:
        """Set the threshold of the current score from a sample other than the training rows. Scores do not change.

        Args:
            X: the sample.
            y: labels, (n,), of which the sample has both: 1 and -1 for outliers, as in scikit-learn; or 0 and 1 for
                outliers; or texts such as "good". Needs neither of the two shares.
            contamination: flag this share of the sample.
            false_positive_rate: of rows that are all normal, flag a new one with at most this probability.
            rule: for labels: "f1", or "youden", which does not depend on the share of outliers in the sample.

        Raises:
            NotFittedError: the detector is not fitted.
            ValueError, TypeError: not one of the three is given, or the data cannot be used.
        """
        given = [each is not None for each in (y, contamination, false_positive_rate)]
        if sum(given) != 1:
            raise InvalidInput(
                f"{sum(given)} of y, contamination and false_positive_rate are given.", "Expected one of them.", ""
            )
        scores = self.score_samples(X)
        if y is not None:
            threshold = labelled_threshold(scores, y, rule)
        elif contamination is not None:
            threshold = by_contamination(scores, positive("contamination", contamination, MOST_CONTAMINATION))
        else:
            threshold = by_false_positive_rate(scores, positive("false_positive_rate", false_positive_rate, 1.0))
        self.reference_ = self.reference_.with_thresholds({**self.reference_.thresholds, self.score_type: threshold})
        return self

    @property
    def threshold_(self) -> Threshold:
        """The threshold of the current score, and how it was derived."""
        check_is_fitted(self, "reference_")
        threshold = self.reference_.thresholds.get(self.score_type)
        if threshold is None:
            raise NotFittedError(f"There is no threshold for the score {self.score_type!r}. Call set_threshold.")
        return threshold

    @property
    def offset_(self) -> float:
        """The score below which a row is an outlier."""
        return self.threshold_.value

    def save(self, folder: str | Path) -> None:
        """Write the detector as safetensors and JSON into a folder, which `vaekit score DATA --vae FOLDER` takes, too.

        Raises:
            NotFittedError: the detector is not fitted.
            CannotWrite: the disk is full, or the folder is not writable.
        """
        check_is_fitted(self, "reference_")
        save_folder(self, Path(folder), self.reference_)

    @classmethod
    def load(cls, folder: str | Path, normal: Any = None) -> Self:
        """A detector that `save` wrote, with bit-equal scores; or one with the VAE of a run of `vaekit train tables`.

        Args:
            folder: of the detector or of the run; or the VAE's file.
            normal: normal rows, for statistics and thresholds; needed if none were kept with the VAE.

        Raises:
            NotFound: there is no such folder; or no statistics, and no normal rows.
            BadCheckpoint, UnknownVAE, WrongTensors, BadReference: a file is damaged, or something else.
            ValueError, TypeError: the normal rows cannot be used.
        """
        saved = loaded(Path(folder), cls)
        detector = saved.estimator
        if normal is not None:
            chunk = detector._rows(normal)
            detector._check_parameters()
            with value_errors():
                detector._fit_reference(detector._values(normal), chunk.names, 0)
        elif saved.reference is not None:
            detector.reference_ = saved.reference
        else:
            raise NotFound(
                f"No statistics of normal rows are kept with {folder}.",
                "A detector compares rows with them.",
                "Call VAEDetector.load(folder, normal=rows), or compute them with `vaekit score DATA --vae FOLDER "
                "--reference NORMAL_DATA`.",
            )
        return detector

    def _check_parameters(self) -> None:
        """Check the parameters of scores.

        Raises:
            InvalidInput: one of them is invalid.
        """
        positive("contamination", self.contamination, MOST_CONTAMINATION)
        whole("draws", self.draws, MOST_DRAWS)  # more cannot be loaded again
        with value_errors():
            check_score(text("score_type", self.score_type))

    def _fit_reference(self, x: Tensor, names: Sequence[str], seed: int) -> None:
        """Statistics of at most `MOST_LATENTS` of the rows, and thresholds for all scores.

        Raises:
            BadItem: there are fewer than two rows with finite scores.
        """
        places = np.arange(len(x))
        if len(x) > MOST_LATENTS:
            places = np.sort(np.random.default_rng(seed).choice(len(x), MOST_LATENTS, replace=False))
        fit, scorer = ReferenceFit(self.draws), self._scorer(self.draws)
        for part in parts_of(torch.from_numpy(places)):
            fit.add([names[place] for place in part.tolist()], scorer.evidence(x[part], factors=True))
        reference = fit.finish()
        self.reference_ = reference.with_thresholds(thresholds(reference, {}, ThresholdOptions(self.contamination)))

    def _scorer(self, draws: int, seed: int = 0) -> Scorer:
        vae = self._double()
        return Scorer(DirectRunner(vae), vae.prior, draws, seed, CPU, torch.float64)


def parts_of(x: Tensor) -> tuple[Tensor, ...]:
    """Rows (n, ...) in parts that are scored together."""
    width = x.shape[1] if x.dim() > 1 else 1
    return x.split(max(1, min(MOST_ROWS, VALUES // width)))


def labelled_threshold(scores: NDArray[np.float64], labels: Any, rule: str) -> Threshold:
    """The threshold that separates a labelled sample best.

    Raises:
        InvalidInput: the labels are of another number, of one kind, or it is not known which are normal.
    """
    texts = [str(label) for label in np.asarray(labels).ravel().tolist()]
    if len(texts) != len(scores):
        raise InvalidInput(f"X has {len(scores):,} rows and y has {len(texts):,} labels.", "Expected as many.", "")
    with value_errors():
        normal = normal_label(texts)
    try:
        return by_labels(scores, [plain_label(text) != normal for text in texts], rule)
    except ValueError as error:
        raise InvalidInput(
            f"There is no such threshold: {error}.", 'Expected labels of both kinds, and the rule "f1" or "youden".', ""
        ) from error
