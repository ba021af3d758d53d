"""Folders of estimators: the VAE as `vaekit train tables` writes it, statistics of normal rows, and parameters.

FOLDER/vae.safetensors                        the VAE, with the schema of the columns in its metadata
FOLDER/anomaly.safetensors, anomaly.json      statistics of normal rows, of a detector
FOLDER/estimator.json                         parameters, and the columns of the input
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from vaekit.anomaly.reference import Reference
from vaekit.anomaly.reference_files import find_reference, load_reference, save_reference
from vaekit.atomic import atomic_file
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.domains.find import domain_of
from vaekit.domains.tables.schema import TableSchema
from vaekit.errors import BadCheckpoint, UnknownDomain, printable, reason_of, system_errors
from vaekit.estimators.table_estimator import TableEstimator
from vaekit.estimators.table_output import LIBRARIES
from vaekit.formats.paths import REFERENCE
from vaekit.identification.fingerprint import fingerprint
from vaekit.json import dumps
from vaekit.reading import exists, read_json
from vaekit.records import from_dict
from vaekit.run_folder import RESULT

RECORD = "estimator.json"
VERSION = 1
Estimator = TypeVar("Estimator", bound=TableEstimator)


@dataclass(frozen=True)
class EstimatorRecord:
    """The content of `estimator.json`."""

    version: int
    vae: str
    """The fingerprint of the VAE."""
    features: tuple[str, ...]
    """All columns of the input, in order."""
    named: bool = True
    """Whether the input was a frame with names."""
    library: str = ""
    """The package of that frame."""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Saved(Generic[Estimator]):
    """An estimator from its files."""

    estimator: Estimator
    reference: Reference | None
    """None if no statistics were kept."""


@system_errors()
def save_folder(estimator: TableEstimator, folder: Path, reference: Reference | None = None) -> None:
    """Write an estimator.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    made_with = fingerprint(estimator.vae_)
    record = EstimatorRecord(
        VERSION,
        made_with,
        estimator._features,
        hasattr(estimator, "feature_names_in_"),
        estimator._library,
        plain_parameters(estimator.get_params(deep=False)),
    )
    save(estimator.vae_, folder / RESULT)
    if reference is not None:
        save_reference(reference, folder / REFERENCE, made_with)
    with atomic_file(folder / RECORD) as part:
        part.write_text(dumps(record) + "\n", "utf-8")


@system_errors()
def loaded(path: Path, kind: type[Estimator]) -> Saved[Estimator]:
    """An estimator from a folder that `save_folder` wrote; or one with default parameters and the VAE of a run or file.

    Raises:
        NotFound: there is no VAE.
        BadCheckpoint, UnknownVAE, WrongTensors, BadReference: a file is damaged, or something else.
        UnknownDomain: the VAE is not one of tables.
    """
    vae = load(path)
    domain, schema = domain_of(vae)
    if not isinstance(schema, TableSchema):
        raise UnknownDomain(
            f"{path} is a VAE of {domain.items}.", "Expected one of rows of a table.", "Name another folder."
        )
    own = fingerprint(vae)
    record = read_record(path, own, schema)
    estimator = kind(**{name: value for name, value in record.parameters.items() if name in parameter_names(kind)})
    estimator._use(vae, schema, record.features, record.library)
    estimator.n_features_in_ = len(record.features)
    if record.named:
        estimator.feature_names_in_ = np.array(record.features, object)
    kept = find_reference(str(path), own)
    return Saved(estimator, None if kept is None else load_reference(kept, own))


def read_record(path: Path, made_with: str, schema: TableSchema) -> EstimatorRecord:
    """The record in a folder; without one, that of a frame with the columns of the schema.

    Raises:
        BadCheckpoint: it is damaged, or belongs to another VAE.
    """
    file = path / RECORD
    if not path.is_dir() or not exists(file):
        return EstimatorRecord(VERSION, made_with, tuple(column.name for column in schema.columns))
    try:
        record = from_dict(EstimatorRecord, read_json(file))
        if record.version != VERSION:
            raise ValueError(f"its version is {record.version}")
        if record.vae != made_with:
            raise ValueError("it belongs to another VAE")
        if record.library not in ("", *LIBRARIES):
            raise ValueError(f"there are no frames of {printable(record.library)!r}")
        missing = {column.name for column in schema.columns} - set(record.features)
        if missing or len(set(record.features)) < len(record.features):
            raise ValueError("its columns are not those of the VAE")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BadCheckpoint(
            f"{file} cannot be used: {printable(reason_of(error), 200)}.",
            "Expected the parameters of an estimator that `save` wrote beside its VAE.",
            "Restore it, or remove it to use the VAE with default parameters.",
        ) from error
    return record


def parameter_names(kind: type[TableEstimator]) -> set[str]:
    """The names of the parameters of an estimator."""
    return set(kind().get_params(deep=False))


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them; a generator of random numbers becomes None."""
    seed = parameters["random_state"]
    return {**parameters, "random_state": int(seed) if isinstance(seed, int | np.integer) else None}
