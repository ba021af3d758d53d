"""Detect anomalies in images: digits of other classes than the trained one, and defects of magnetic tiles.

    python bench/anomaly_images.py mnist --data DIR --work DIR [--draws 16] [--digits 0123456789]
    python bench/anomaly_images.py tiles --data DIR --work DIR [--draws 16]

mnist: for each digit, a VAE (recipe `anomaly-digits`) is trained on its training images, and all 10,000 test images are
scored: the digit against the others. DIR holds MNIST's idx files.

tiles: a VAE (recipe `anomaly-images`) is trained on two thirds of the good tiles (seed 0); the others and all tiles
with defects are scored. DIR holds the folders MT_Free, MT_Blowhole, ... of the magnetic-tile data set (Huang, Qiu &
Yuan 2020, The Visual Computer 36). Pixels: contributions to -log p above those of the training images, smoothed as for
heat maps, in 128x128; pooled over all tiles of a kind, or over all tiles. The good tiles have the exposures 1 and 2
only, those with defects 0 to 6: therefore the table also has tiles of the exposures 1 and 2 alone, and the mean gray
value as a score.

Runs are kept in the work folder and resumed there. Training, scores, and statistics of normal images are those of
`vaekit train` and `vaekit score`.
"""

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from vaekit.anomaly.attribution import attributions
from vaekit.anomaly.local import local_map
from vaekit.anomaly.reference import Reference, ReferenceFit
from vaekit.anomaly.scores import Evidence, Scorer
from vaekit.datasets.array_files import read_idx
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.domain import IMAGES
from vaekit.domains.images.ground_truth import ground_truth_of
from vaekit.metrics.detection import auroc, average_precision
from vaekit.metrics.detection_intervals import detection_intervals
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.scorer import scorer_of
from vaekit.tasks.train import TrainCallbacks, TrainOptions, train

SIDE = 128
"""Of maps and masks for the AUROC of pixels."""
TOGETHER = 100
"""Digits that are computed together."""
GOOD = "good"
FEW_EXPOSURES = "exposures 1, 2"
OWN = ("likelihood", "elbo", "reconstruction", "kl", "local")
SCORES = (*OWN, "mahalanobis", "neighbors", "ensemble")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("mnist", "tiles"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--digits", default="0123456789")
    parser.add_argument("--set", action="append", default=[], dest="changes", help="an override of the recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    if options.which == "mnist":
        mnist(options.data, options.work, options.draws, [int(each) for each in options.digits], options.changes)
    else:
        tiles(options.data, options.work, options.draws, options.changes)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes, torch {torch.__version__}, {options.draws} draws")


def trained(recipe: str, data: Path, run: Path, changes: Sequence[str]) -> OpenModel:
    """The VAE of a run, trained if it is not yet."""
    if not list(run.glob("*.safetensors")):
        say = TrainCallbacks(say=lambda text: print(text, flush=True))
        train(TrainOptions(recipe, data, run, changes=tuple(changes)), say)
    return open_model(ModelOptions(str(run)), EngineOptions(device="cpu"))


def fitted(scorer: Scorer, batches: Iterator[tuple[Sequence[str], torch.Tensor]]) -> Reference:
    """The statistics of normal images."""
    fit = ReferenceFit(scorer.draws, scorer.seed)
    for names, x in batches:
        fit.add(names, scorer.evidence(x, factors=True))
    return fit.finish()


def all_scores(evidence: Evidence, reference: Reference) -> dict[str, np.ndarray]:
    """Scores by name, higher for anomalies."""
    found = {**evidence.scores, **reference.relative_scores(evidence.latents, evidence.scores, SCORES)}
    return {name: -found[name].numpy() for name in SCORES if name in found}


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Rows of numbers, and their mean."""
    width = max(len(name) for name in (*rows, "mean")) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{column:>15}" for column in columns))
    for name, values in {**rows, "mean": np.mean(list(rows.values()), axis=0).tolist()}.items():
        print(f"{name:{width}}" + "".join(f"{value:15.3f}" for value in values), flush=True)


def mnist(data: Path, work: Path, draws: int, digits: Sequence[int], changes: Sequence[str]) -> None:
    """One class against the others."""
    images, labels, test, test_labels = (
        read_idx(next(data.glob(f"{name}*"))) for name in ("train-images", "train-labels", "t10k-images", "t10k-labels")
    )
    rows: dict[str, dict[str, list[float]]] = {"AUROC": {}, "average precision": {}}
    for digit in digits:
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"digit-{digit}.npz"
        np.savez(path, x=images[labels == digit])
        model = trained("anomaly-digits", path, work / f"digit-{digit}", changes)
        scorer = replace(scorer_of(model, draws), together=TOGETHER)
        own = torch.from_numpy(images[labels == digit][:500]).unsqueeze(1) / 127.5 - 1
        x = torch.from_numpy(test).unsqueeze(1) / 127.5 - 1
        reference = fitted(scorer, iter([([str(i) for i in range(len(own))], own)]))
        scores = all_scores(scorer.evidence(x), reference)
        other = test_labels != digit
        rows["AUROC"][str(digit)] = [auroc(each, other) for each in scores.values()]
        rows["average precision"][str(digit)] = [average_precision(each, other) for each in scores.values()]
        print(
            digit,
            " ".join(f"{name} {value:.4f}" for name, value in zip(scores, rows["AUROC"][str(digit)], strict=True)),
            flush=True,
        )
    for title, values in rows.items():
        print_table(f"MNIST, one digit against the others: {title}", list(scores), values)


@dataclass
class Scored:
    """Test tiles."""

    kinds: list[str]
    exposures: list[str]
    scores: dict[str, np.ndarray]
    maps: np.ndarray
    """(n, SIDE, SIDE)."""
    masks: np.ndarray


def tiles(data: Path, work: Path, draws: int, changes: Sequence[str]) -> None:
    """Defects of magnetic tiles."""
    folder = as_mvtec(data, work / "tiles")
    model = trained("anomaly-images", folder, work / "run", changes)
    scorer = scorer_of(model, draws)
    reference = fitted(
        scorer,
        (
            (batch.names, batch.x)
            for batch in model.domain.batches(folder, model.schema, 32, SkipLog(), train=True).batches
        ),
    )
    found = scored_tiles(model, scorer, reference, folder)
    kinds = sorted(set(found.kinds) - {GOOD})
    kind, near = np.array(found.kinds), np.isin(found.exposures, ["1", "2"])
    subsets: dict[str, np.ndarray] = {each: np.isin(kind, [each, GOOD]) for each in kinds}
    for title, measure in (("AUROC", auroc), ("average precision", average_precision)):
        rows = {
            name: [measure(s[chosen], kind[chosen] != GOOD) for s in found.scores.values()]
            for name, chosen in subsets.items()
        }
        print_table(f"tiles, images: {title}", list(found.scores), rows)
    whole = {"all": np.ones(len(kind), bool), FEW_EXPOSURES: near}
    for name, chosen in whole.items():
        pooled = [auroc(s[chosen], kind[chosen] != GOOD) for s in found.scores.values()]
        print(f"{name:22}" + "".join(f"{value:15.3f}" for value in pooled))
    local = found.scores["local"]
    print("95 % interval of local, all:", detection_intervals(local, kind != GOOD))
    rows = {}
    for name, chosen in {**{each: kind == each for each in kinds}, **whole}.items():
        values, defects = found.maps[chosen].ravel(), found.masks[chosen].ravel()
        rows[name] = [auroc(values, defects), average_precision(values, defects)]
    print_table("tiles, pixels", ["AUROC", "AP"], {name: rows[name] for name in kinds})
    for name in whole:
        print(f"{name:15}" + "".join(f"{value:15.3f}" for value in rows[name]))


def as_mvtec(data: Path, folder: Path) -> Path:
    """Links to the tiles in MVTec's layout."""
    good = sorted((data / "MT_Free").rglob("*.jpg"))
    random.Random(0).shuffle(good)
    split = len(good) * 2 // 3
    links = {
        folder / part / GOOD / path.name: path
        for part, paths in (("train", good[:split]), ("test", good[split:]))
        for path in paths
    }
    for kind in sorted(set(data.glob("MT_*")) - {data / "MT_Free"}):
        name = kind.name.removeprefix("MT_").lower()
        for path in sorted(kind.rglob("*.jpg")):
            links[folder / "test" / name / path.name] = path
            links[folder / "ground_truth" / name / f"{path.stem}_mask.png"] = path.with_suffix(".png")
    for link, path in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.absolute())
    return folder


def scored_tiles(model: OpenModel, scorer: Scorer, reference: Reference, folder: Path) -> Scored:
    """All test tiles."""
    test = IMAGES.open(folder, SkipLog()).test
    assert test is not None
    truth = ground_truth_of(test)
    assert truth is not None
    scores: dict[str, list[np.ndarray]] = {}
    kinds, exposures, maps, masks = [], [], [], []
    for batch in model.domain.batches(folder, model.schema, 32, SkipLog(), "folder").batches:
        assert not batch.problems and batch.labels is not None
        evidence = scorer.evidence(batch.x, factors=True)
        heat = local_map(attributions(evidence, reference).float())
        maps.append(F.interpolate(heat[:, None], (SIDE, SIDE), mode="bilinear")[:, 0].numpy())
        for name, label in zip(batch.names, batch.labels, strict=True):
            defects = truth.defects(name, (SIDE, SIDE))
            masks.append(np.zeros((SIDE, SIDE), bool) if defects is None else defects.numpy())
            kinds.append(str(label))
            exposures.append(Path(name).name.removeprefix("exp")[:1])
        with_gray = {**all_scores(evidence, reference), "mean gray": mean_gray(folder, batch.names)}
        for name, values in with_gray.items():
            scores.setdefault(name, []).append(values)
        print(f"{len(kinds)} of {len(test)}", end="\r", flush=True)
    return Scored(
        kinds,
        exposures,
        {name: np.concatenate(each) for name, each in scores.items()},
        np.concatenate(maps),
        np.stack(masks),
    )


def mean_gray(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The mean gray values of images."""
    return np.array(
        [IMAGES.read(folder / name, IMAGES.schema({"size": 8, "channels": 1}, None)).x.mean().item() for name in names]
    )  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
