"""Anomaly detection in tables: `vaekit.VAEDetector` with its defaults beside other detectors, on the same splits.

    python bench/anomaly_tables.py FOLDER --out RESULTS.jsonl [--seeds 3] [--contaminate 0 0.05 0.1]
        [--recipe tables tables-contaminated] [--trim 0 0.1]

FOLDER holds ADBench tables: npz files with X and y, where y = 1 is an anomaly. Semi-supervised protocol: train on half
of the normal rows, drawn at random with the seed, test on all others. Other detectors get standardized columns: PCA and
the VAE of PyOD with their defaults (left out where PyOD is not installed), and of scikit-learn a one-class SVM, an
isolation forest, the local outlier factor, and the distance to the fifth nearest neighbor. Results are appended to the
file, a line for each table, seed and method, and are not computed again; then the means are printed.

With --contaminate, this share of the training rows is replaced by anomalies, which are left out of the test; tables
with too few anomalies for the largest share, of which half at most are taken, are left out. --recipe trains with these
recipes, --trim with this `objective.trim` instead of the recipe's.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from vaekit import VAEDetector

Array = NDArray[np.float64]
Detect = Callable[[Array, Array, int], Array]
"""(training rows, test rows, seed) -> how anomalous the test rows are."""
SCORES = ("likelihood", "elbo", "reconstruction", "kl", "mahalanobis", "neighbors", "ensemble")
MARGIN = 0.03
"""AUROC below PCA that counts."""


@dataclass(frozen=True)
class Training:
    """How a VAE is trained."""

    recipe: str = "tables"
    trim: float | None = None
    """The `objective.trim`; None for the recipe's."""


def has_enough(labels: NDArray[np.int64], contaminated: float) -> bool:
    """Whether half of the anomalies suffice for a share of the training rows."""
    return int(contaminated * ((labels == 0).sum() // 2)) <= (labels == 1).sum() // 2


def split(labels: NDArray[np.int64], seed: int, contaminated: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on, half of the normal ones, and the others."""
    random = np.random.default_rng(seed)
    normal = np.flatnonzero(labels == 0)
    random.shuffle(normal)
    half = len(normal) // 2
    anomalies = np.flatnonzero(labels == 1)
    inside = random.choice(anomalies, min(int(contaminated * half), len(anomalies) // 2), replace=False)
    train = np.concatenate([normal[: half - len(inside)], inside])
    return train, np.setdiff1d(np.concatenate([normal[half:], anomalies]), inside)


def pca(a: Array, b: Array, seed: int) -> Array:
    from pyod.models.pca import PCA

    return PCA(random_state=seed).fit(a).decision_function(b)  # type: ignore[no-any-return]


def pyod_vae(a: Array, b: Array, seed: int) -> Array:
    from pyod.models.vae import VAE

    return VAE(random_state=seed, verbose=0).fit(a).decision_function(b)  # type: ignore[no-any-return]


def isolation_forest(a: Array, b: Array, seed: int) -> Array:
    return -IsolationForest(random_state=seed).fit(a).score_samples(b)


def one_class_svm(a: Array, b: Array, _: int) -> Array:
    return -OneClassSVM().fit(a).score_samples(b)


def outlier_factor(a: Array, b: Array, _: int) -> Array:
    return -LocalOutlierFactor(novelty=True).fit(a).score_samples(b)


def neighbors(a: Array, b: Array, _: int) -> Array:
    return NearestNeighbors(n_neighbors=5).fit(a).kneighbors(b)[0][:, -1]


BASELINES: Mapping[str, Detect] = {
    "iforest": isolation_forest,
    "ocsvm": one_class_svm,
    "lof": outlier_factor,
    "knn": neighbors,
}
OF_PYOD: Mapping[str, Detect] = {"pca": pca, "pyod-vae": pyod_vae}


def measured(anomalous: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """AUROC and average precision; a value that is not finite counts as the largest."""
    values = np.nan_to_num(anomalous, nan=1e300, posinf=1e300, neginf=-1e300)
    return {"auroc": float(roc_auc_score(labels, values)), "ap": float(average_precision_score(labels, values))}


def results_of_vae(a: Array, b: Array, seed: int, training: Training) -> Iterator[tuple[str, Array, float]]:
    """(score, how anomalous the test rows are, seconds) of each score of one detector; the first one trains."""
    start = time.perf_counter()
    overrides = [] if training.trim is None else [f"objective.trim={training.trim}"]
    detector = VAEDetector(random_state=seed, recipe=training.recipe, overrides=overrides).fit(a)
    for score in SCORES:
        yield score, -detector.set_params(score_type=score).score_samples(b), time.perf_counter() - start
        start = time.perf_counter()


def run(path: Path, seed: int, contaminated: float, training: Training, done: set[tuple[Any, ...]], out: Path) -> None:
    """Append the results of a table that are missing."""
    file = np.load(path)
    rows, labels = file["X"].astype(np.float64), file["y"].astype(np.int64)
    train, test = split(labels, seed, contaminated)

    def record(method: str, values: Array, seconds: float) -> None:
        line = {"table": path.stem, "seed": seed, "method": method, "contaminated": contaminated, **vars(training)}
        with out.open("a") as lines:
            lines.write(json.dumps({**line, **measured(values, labels[test]), "seconds": seconds}) + "\n")

    if (path.stem, seed, f"vae {SCORES[-1]}", contaminated, *vars(training).values()) not in done:
        for score, values, seconds in results_of_vae(rows[train], rows[test], seed, training):
            record(f"vae {score}", values, seconds)
    scaler = StandardScaler().fit(rows[train])
    a, b = scaler.transform(rows[train]), scaler.transform(rows[test])
    for name, detect in {**BASELINES, **(OF_PYOD if find_spec("pyod") else {})}.items():
        if training == Training() and (path.stem, seed, name, contaminated, *vars(training).values()) not in done:
            start = time.perf_counter()
            record(name, detect(a, b, seed), time.perf_counter() - start)


def mean_of(found: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> float:
    """The mean over tables of the means over seeds."""
    return float(np.mean([np.mean([one[key] for one in each]) for each in found.values()]))


def summary(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the means over tables of the means over seeds, and how often the VAE is below PCA."""
    tables: dict[tuple[Any, ...], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for each in results:
        trained = each["recipe"] if each["trim"] is None else f"{each['recipe']}, trim {each['trim']:g}"
        tables[each["contaminated"], trained, each["method"]][each["table"]].append(each)
    print(f"{'contaminated':>12} {'recipe':24} {'method':20} {'tables':>6} {'AUROC':>7} {'AP':>7} {'s/table':>8}")
    for (contaminated, trained, method), found in sorted(tables.items(), key=lambda item: item[0]):
        auroc, precision, seconds = (mean_of(found, key) for key in ("auroc", "ap", "seconds"))
        numbers = f"{100 * auroc:7.2f} {100 * precision:7.2f} {seconds:8.2f}"
        print(f"{contaminated:12g} {trained:24} {method:20} {len(found):6} {numbers}")
    pca_of, vae_of = (tables.get((0, "tables", method), {}) for method in ("pca", "vae likelihood"))
    gaps = {
        name: np.mean([one["auroc"] for one in vae_of[name]]) - np.mean([one["auroc"] for one in pca_of[name]])
        for name in vae_of.keys() & pca_of.keys()
    }
    below = sum(gap < -MARGIN for gap in gaps.values())
    print(f"The default score is more than {100 * MARGIN:g} points below PCA on {below} of {len(gaps)} tables.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--contaminate", type=float, nargs="*", default=[0.0])
    parser.add_argument("--recipe", nargs="*", default=["tables"])
    parser.add_argument("--trim", type=float, nargs="*", default=[None])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most-rows", type=int, default=10**9, help="leave out larger tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    read = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    keys = ("table", "seed", "method", "contaminated", *vars(Training()))
    done = {tuple(each[key] for key in keys) for each in read}
    for seed in range(options.seeds):
        for path in sorted(options.folder.glob("*.npz"), key=lambda path: path.stat().st_size):
            labels = np.load(path)["y"]
            if len(labels) > options.most_rows or not has_enough(labels, max(options.contaminate)):
                continue
            for contaminated, recipe, trim in product(options.contaminate, options.recipe, options.trim):
                run(path, seed, contaminated, Training(recipe, trim), done, options.out)
                print(f"{path.stem}, seed {seed}, contaminated {contaminated:g}, {recipe}, trim {trim}", flush=True)
    summary([json.loads(line) for line in options.out.read_text().splitlines()])


if __name__ == "__main__":
    main()
