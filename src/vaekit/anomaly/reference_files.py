"""Files of reference statistics beside a VAE: tensors in `anomaly.safetensors`, everything else in `anomaly.json`.

    model.safetensors          model.safetensors.anomaly.safetensors, model.safetensors.anomaly.json
    a folder                   anomaly.safetensors, anomaly.json in it
    a VAE inside the package, or a folder that cannot be written
                               anomaly/<fingerprint>.anomaly.safetensors, .json in a models folder

The JSON file holds the fingerprint of the VAE and a digest of the tensors, so that neither another VAE nor the tensors
of another reference are used with it. Thresholds are no part of the digest: they may be edited. Scores after loading
are bit-equal to those before saving.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.anomaly.latent_distances import Gaussian
from vaekit.anomaly.reference import (
    ALL_SCORES,
    LEAST_ITEMS,
    MOST_LATENTS,
    MOST_SCORES,
    RELATIVE_SCORES,
    FactorStatistics,
    Reference,
)
from vaekit.anomaly.scores import RECONSTRUCTION
from vaekit.anomaly.thresholds import RULES, Threshold
from vaekit.atomic import atomic_group
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadCheckpoint, BadReference, CannotWrite, NotFound, printable, reason_of, remedy_for
from vaekit.formats.open import open_tensors
from vaekit.formats.paths import REFERENCE
from vaekit.json import plain
from vaekit.library.beside import beside
from vaekit.library.folders import folder_for_new, models_folders
from vaekit.reading import read_json
from vaekit.version import __version__

KEY, VERSION = "vaekit.anomaly", 1
FINGERPRINT = re.compile("[0-9a-f]{64}")
SCORE = "score."
"""The prefix of the tensors of scores."""
DTYPES = (torch.float32, torch.float64)
MOST_DRAWS = 2**16
EXPECTED = "Expected what `vaekit score --reference` writes beside a VAE."
REFIT = "Make it again: `vaekit score DATA --vae V --reference NORMAL_DATA`."


def save_reference(reference: Reference, path: Path, fingerprint: str) -> None:
    """Write both files, over older ones.

    Args:
        reference: the statistics.
        path: of the tensors; ends in `.safetensors`.
        fingerprint: of the VAE.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    tensors = tensors_of(reference)
    record = {
        KEY: VERSION,
        "vaekit": __version__,
        "vae": fingerprint,
        "items": reference.items,
        "draws": reference.draws,
        "seed": reference.seed,
        "thresholds": {name: asdict(threshold) for name, threshold in reference.thresholds.items()},
        "digest": digest_of(tensors),
    }
    with atomic_group(path.parent) as part:
        write_tensors(tensors, part / path.name, {KEY: str(VERSION)}, path)
        (part / record_path(path).name).write_text(json.dumps(plain(record), indent=2) + "\n", "utf-8")


def load_reference(path: Path, fingerprint: str) -> Reference:
    """Read both files, strictly.

    Args:
        path: of the tensors.
        fingerprint: of the VAE, whose statistics they must be.

    Raises:
        NotFound: one of them is missing or cannot be read.
        BadReference: they are damaged, something else, or were made with another VAE.
    """
    try:
        record = object_from(read_json(record_path(path)))
        if record[KEY] != VERSION:
            raise ValueError(f"its version is {printable(str(record[KEY]), 20)}")
        check_same_vae(path, record["vae"], fingerprint)
        file = open_tensors(path)
        if file.format != "safetensors":
            raise ValueError("it is no safetensors file")
        tensors = {name: tensor.clone() for name, tensor in file.read(list(file.specs)).items()}
        if digest_of(tensors) != record["digest"]:
            raise ValueError(f"its tensors are not those that belong to {record_path(path).name}")
        return reference_from(record, tensors)
    except OSError as error:
        raise NotFound(
            f"Could not read {record_path(path)}: {reason_of(error)}.", EXPECTED, remedy_for(error)
        ) from error
    except BadCheckpoint as error:
        raise BadReference(error.found, EXPECTED, REFIT) from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise BadReference(
            f"{path} holds no statistics of normal data: {printable(reason, 200)}.", EXPECTED, REFIT
        ) from error


def check_same_vae(path: Path, made_with: object, fingerprint: str) -> None:
    """Check that statistics were made with a VAE.

    Raises:
        BadReference: they were made with another one.
        ValueError: the stored fingerprint is damaged.
    """
    if not isinstance(made_with, str) or not FINGERPRINT.fullmatch(made_with):
        raise ValueError("its fingerprint is none")
    if made_with != fingerprint:
        raise BadReference(
            f"{path} was made with the VAE {made_with[:10]}, and the given one is {fingerprint[:10]}.",
            "Expected statistics of normal data from the same VAE.",
            REFIT,
        )


def save_beside(reference: Reference, vae: str, fingerprint: str, models: Sequence[Path] | None = None) -> Path:
    """Write the files beside the VAE with this name or path, or else into a models folder; returns the path of the
    tensors.

    Raises:
        NotFound, AmbiguousName: there is no such VAE.
        CannotWrite: neither folder is writable.
    """
    own = beside(vae, REFERENCE, models)
    if own is not None:
        try:
            save_reference(reference, own, fingerprint)
            return own
        except CannotWrite:
            if own.exists():  # an older one, which would be found first
                raise
    path = in_models_folder(folder_for_new(models_folders(models)), fingerprint)
    save_reference(reference, path, fingerprint)
    return path


def find_reference(vae: str, fingerprint: str, models: Sequence[Path] | None = None) -> Path | None:
    """The file of tensors for the VAE with this name or path; None if there is none.

    Raises:
        NotFound, AmbiguousName: there is no such VAE.
    """
    candidates = reference_paths(vae, fingerprint, models)
    return next((path for path in candidates if path.is_file() or record_path(path).is_file()), None)


def reference_paths(vae: str, fingerprint: str, models: Sequence[Path] | None = None) -> list[Path]:
    """Where the file of tensors for a VAE may be, in the order in which it is looked for.

    Raises:
        NotFound, AmbiguousName: there is no such VAE.
    """
    own = beside(vae, REFERENCE, models)
    others = [in_models_folder(folder, fingerprint) for folder in models_folders(models)]
    return others if own is None else [own, *others]


def in_models_folder(folder: Path, fingerprint: str) -> Path:
    """The path of the tensors if they cannot be beside the VAE."""
    return folder / "anomaly" / f"{fingerprint[:16]}.{REFERENCE}"


def record_path(path: Path) -> Path:
    """The path of the JSON file that belongs to a file of tensors."""
    return path.with_suffix(".json")


def tensors_of(reference: Reference) -> dict[str, Tensor]:
    """The tensors of a reference by name."""
    tensors = {
        "latents": reference.latents,
        "mean": reference.gaussian.mean,
        "whitening": reference.gaussian.whitening,
        **{f"{SCORE}{name}": scores for name, scores in reference.scores.items()},
    }
    if reference.factors is not None:
        tensors |= {"factor_mean": reference.factors.mean, "factor_std": reference.factors.std}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and values."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name}\n{list(tensor.shape)}\n{tensor.dtype}\n".encode())
        whole.update(tensor.contiguous().numpy().tobytes() if tensor.dtype in DTYPES else b"")
    return whole.hexdigest()


def reference_from(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Reference:
    """A reference from the content of its files.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: the content is not that of a reference.
    """
    if any(each.dtype not in DTYPES or not each.isfinite().all() for each in tensors.values()):
        raise ValueError("its tensors are not finite, or not fp32 or fp64")
    latents, mean, whitening = (tensors[name] for name in ("latents", "mean", "whitening"))
    if latents.dim() != 2 or not LEAST_ITEMS <= len(latents) <= MOST_LATENTS:
        raise ValueError(f"its latents have the shape {list(latents.shape)}")
    dimensions = latents.shape[1]
    if mean.shape != (dimensions,) or whitening.shape not in ((dimensions,), (dimensions, dimensions)):
        raise ValueError(f"its mean and covariance do not fit latents with {dimensions} values")
    scores = {name.removeprefix(SCORE): tensor for name, tensor in tensors.items() if name.startswith(SCORE)}
    missing = {RECONSTRUCTION, *RELATIVE_SCORES} - scores.keys()
    if missing or not scores.keys() <= set(ALL_SCORES):
        raise ValueError(f"its scores are {printable(', '.join(sorted(scores)))}")
    for name, each in scores.items():
        if each.dim() != 1 or not LEAST_ITEMS <= len(each) <= MOST_SCORES or (each.diff() < 0).any():
            raise ValueError(f"its scores {name} are not sorted")
    return Reference(
        whole_number(record["items"], LEAST_ITEMS, 2**53),
        latents,
        Gaussian(mean.double(), whitening.double()),
        {name: each.double() for name, each in scores.items()},
        factors_from(tensors),
        {name: threshold_from(each) for name, each in object_from(record["thresholds"]).items() if name in scores},
        whole_number(record["draws"], 1, MOST_DRAWS),
        whole_number(record["seed"], 0, 2**53),
    )


def factors_from(tensors: Mapping[str, Tensor]) -> FactorStatistics | None:
    """The statistics of factors; None if there are none.

    Raises:
        ValueError: they are damaged.
    """
    if "factor_mean" not in tensors and "factor_std" not in tensors:
        return None
    mean, std = tensors["factor_mean"], tensors["factor_std"]
    if mean.shape != std.shape or (std < 0).any():
        raise ValueError("its statistics of factors do not fit each other")
    return FactorStatistics(mean, std)


def threshold_from(values: object) -> Threshold:
    """A threshold as the file holds it; infinity is a text.

    Raises:
        ValueError, TypeError, KeyError: it is damaged.
    """
    given = object_from(values)
    value = float(given["value"])
    if given["rule"] not in RULES or math.isnan(value):
        raise ValueError("a threshold is damaged")
    shares = {name: share_or_none(given[name]) for name in ("wanted", "precision", "recall")}
    items, flagged = (whole_number(given[name], 0, 2**53) for name in ("items", "flagged"))
    return Threshold(value, given["rule"], shares["wanted"], items, flagged, shares["precision"], shares["recall"])


def share_or_none(value: object) -> float | None:
    """A share, or None.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a share is not a number")
    if not 0 <= value <= 1:
        raise ValueError(f"a share is {value}")
    return float(value)


def whole_number(value: object, least: int, most: int) -> int:
    """A whole number within limits.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{printable(repr(value), 40)} is no whole number")
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def object_from(value: object) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, dict):
        raise TypeError("it holds no JSON object")
    return value
