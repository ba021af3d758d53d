"""Files of reference statistics: bit-equal scores, damage, other VAEs, and where they are kept."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from linear_vae import linear_scorer, rows
from refusals import refuses
from safetensors.torch import load_file, save_file

from vaekit.anomaly.reference import RELATIVE_SCORES, Reference, ReferenceFit
from vaekit.anomaly.reference_files import (
    digest_of,
    find_reference,
    load_reference,
    record_path,
    save_beside,
    save_reference,
)
from vaekit.anomaly.thresholds import by_contamination, by_labels
from vaekit.errors import BadReference, NotFound
from vaekit.formats.shard_sets import weights_entries

SCORER = linear_scorer()
OWN, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def reference() -> Reference:
    fit = ReferenceFit(SCORER.draws, SCORER.seed)
    fit.add([str(i) for i in range(60)], SCORER.evidence(rows(60), factors=True))
    found = fit.finish()
    labelled = by_labels([0.0, 1.0, 2.0], [True, False, False])
    thresholds = {name: by_contamination(scores.numpy(), 0.05) for name, scores in found.scores.items()}
    return found.with_thresholds({**thresholds, "kl": labelled, "elbo": by_contamination([], 0.1)})


@pytest.fixture
def saved(reference: Reference, tmp_path: Path) -> Path:
    path = tmp_path / "anomaly.safetensors"
    save_reference(reference, path, OWN)
    return path


def test_scores_are_bit_equal_after_loading(reference: Reference, saved: Path) -> None:
    loaded = load_reference(saved, OWN)
    evidence = SCORER.evidence(rows(30, seed=1, spread=3))
    for name, scores in reference.relative_scores(evidence.latents, evidence.scores, RELATIVE_SCORES).items():
        found = loaded.relative_scores(evidence.latents, evidence.scores, RELATIVE_SCORES)[name]
        assert torch.equal(found, scores)
    assert loaded.thresholds == reference.thresholds
    assert (loaded.items, loaded.draws, loaded.seed) == (60, reference.draws, reference.seed)
    assert all(torch.equal(loaded.scores[name], reference.scores[name]) for name in reference.scores)
    assert loaded.factors is not None and reference.factors is not None
    assert torch.equal(loaded.factors.mean, reference.factors.mean)


def test_the_statistics_of_another_vae_are_refused(saved: Path) -> None:
    with refuses(BadReference, OWN[:10], OTHER[:10]):
        load_reference(saved, OTHER)


def test_one_file_of_each_of_two_references_is_refused(reference: Reference, saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    for fingerprint in (OWN, OTHER):
        fit = ReferenceFit(SCORER.draws, SCORER.seed)
        fit.add([str(i) for i in range(30)], SCORER.evidence(rows(30, seed=2), factors=True))
        save_reference(fit.finish(), other, fingerprint)
        record_path(saved).write_bytes(record_path(other).read_bytes())
        with refuses(BadReference):
            load_reference(saved, OWN)


def test_a_threshold_may_be_edited(reference: Reference, saved: Path) -> None:
    record = json.loads(record_path(saved).read_text("utf-8"))
    record["thresholds"]["likelihood"]["value"] = -12.5
    record_path(saved).write_text(json.dumps(record), "utf-8")
    found = load_reference(saved, OWN).thresholds
    assert found["likelihood"].value == -12.5
    assert all(found[name] == reference.thresholds[name] for name in found if name != "likelihood")


def changed_record(key: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        record = json.loads(record_path(path).read_text("utf-8"))
        record[key] = value
        record_path(path).write_text(json.dumps(record), "utf-8")

    return change


def changed_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """A change of tensors whose digest is right."""

    def damage(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        changed_record("digest", digest_of(tensors))(path)

    return damage


def set_first(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].view(-1)[0] = value

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: record_path(path).write_text("{", "utf-8"),
    "a list": lambda path: record_path(path).write_text("[]", "utf-8"),
    "nested": lambda path: record_path(path).write_text("[" * 100_000, "utf-8"),
    "empty record": lambda path: record_path(path).write_text("{}", "utf-8"),
    "another version": changed_record("vaekit.anomaly", 7),
    "no fingerprint": changed_record("vae", 3),
    "no items": changed_record("items", "many"),
    "negative items": changed_record("items", -1),
    "many draws": changed_record("draws", 10**9),
    "no thresholds": changed_record("thresholds", []),
    "a damaged threshold": changed_record("thresholds", {"likelihood": {"value": "NaN", "rule": "f1"}}),
    "a rule that does not exist": changed_record("thresholds", {"likelihood": {"value": 1.0, "rule": "guess"}}),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x55"),
    "no latents": changed_tensors(lambda tensors: tensors.pop("latents")),
    "NaN": changed_tensors(set_first("latents", float("nan"))),
    "unsorted": changed_tensors(set_first("score.likelihood", 1e9)),
    "another covariance": changed_tensors(lambda tensors: tensors.update(whitening=torch.zeros(2, 2))),
    "half of the factors": changed_tensors(lambda tensors: tensors.pop("factor_std")),
    "negative spread": changed_tensors(set_first("factor_std", -1.0)),
    "integers": changed_tensors(lambda tensors: tensors.update(mean=torch.zeros(3, dtype=torch.int64))),
    "an unknown score": changed_tensors(lambda tensors: tensors.update({"score.guess": torch.zeros(3)})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(damage: Callable[[Path], object], saved: Path) -> None:
    damage(saved)
    with refuses(BadReference):
        load_reference(saved, OWN)


@pytest.mark.parametrize("which", [lambda path: path, record_path], ids=["tensors", "record"])
def test_a_missing_file_is_named(which: Callable[[Path], Path], saved: Path) -> None:
    which(saved).unlink()
    with refuses(NotFound):
        load_reference(saved, OWN)


def test_it_is_kept_beside_a_file_or_in_a_folder(reference: Reference, tmp_path: Path) -> None:
    file, folder = tmp_path / "v.safetensors", tmp_path / "run"
    file.write_bytes(b"")
    folder.mkdir()
    models = [tmp_path / "models"]
    places = {file: tmp_path / "v.safetensors.anomaly.safetensors", folder: folder / "anomaly.safetensors"}
    for vae, expected in places.items():
        assert find_reference(str(vae), OWN, models) is None
        assert save_beside(reference, str(vae), OWN, models) == expected
        assert find_reference(str(vae), OWN, models) == expected
    assert sorted(path.name for path in folder.iterdir()) == ["anomaly.json", "anomaly.safetensors"]


def test_that_of_a_vae_inside_the_package_is_kept_in_a_models_folder(reference: Reference, tmp_path: Path) -> None:
    models = [tmp_path / "models"]
    path = save_beside(reference, "builtin", OWN, models)
    assert path.is_relative_to(models[0])
    assert find_reference("builtin", OWN, models) == path
    assert find_reference("builtin", OTHER, models) is None


def test_it_does_not_hide_the_weights_of_a_folder(reference: Reference, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "vae.safetensors").write_bytes(b"")
    save_beside(reference, str(folder), OWN)
    save_beside(reference, str(folder / "vae.safetensors"), OWN)
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 5
    assert [entry.path.name for entry in weights_entries(folder, names)] == ["vae.safetensors"]
