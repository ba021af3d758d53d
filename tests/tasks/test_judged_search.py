"""`optimise` of discrete items: properties that are measured, a minimum similarity, labels, and what cannot be."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from planted_rows import save_planted
from planted_tokens import planted_tokens
from refusals import refuses

from vaekit.errors import BadPlan, NotFound
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.optimise import optimise
from vaekit.tasks.optimised import Optimised, OptimiseOptions
from vaekit.tasks.options import EngineOptions, ModelOptions

UP = OptimiseOptions("as", within=20.0, density=0.0, steps=12)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regressions are fitted to few samples, to save time."""
    monkeypatch.setattr("vaekit.tasks.estimate.SAMPLES", 200)


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return planted_tokens()


def run(
    model: OpenModel, folder: Path, options: OptimiseOptions, lines: Sequence[str] = ("bbbbbb", "bbabba")
) -> Optimised:
    path = folder / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return optimise(model, [path], folder / "out", options)


def results(folder: Path) -> list[str]:
    return (folder / "out" / "lines.txt").read_text().splitlines()


@pytest.mark.parametrize("method", ["gradient", "cma-es", "auto"])
def test_the_best_sentence_is_found(model: OpenModel, tmp_path: Path, method: str) -> None:
    found = run(model, tmp_path, replace(UP, method=method, steps=30))
    (file,) = found.batch.results
    assert results(tmp_path) == ["aaaaaa", "aaaaaa"] and [item.before for item in file.items] == [0, 2]
    for item in file.items:
        assert (item.reconstruction, item.after, item.confirmed) == (item.before, 6, 6) and item.result == "aaaaaa"
        assert item.moved > 1 and not item.unchanged
    assert (found.estimate is not None) == (method != "cma-es")
    assert found.similarity == "agreement" and file.items[0].similarity == 0.0


@pytest.mark.parametrize("method", ["gradient", "cma-es", "auto"])
def test_results_are_as_similar_as_asked(model: OpenModel, tmp_path: Path, method: str) -> None:
    found = run(model, tmp_path, replace(UP, method=method, similarity=0.5, steps=30), ["bbbbbb", "aabbbb", "aaaaaa"])
    items = found.batch.results[0].items
    if method == "gradient":  # one way up, on which several characters change at once
        assert all(item.after >= item.before and (item.similarity or 0) >= 0.5 for item in items)
    else:
        assert [item.after for item in items] == [3, 5, 6] and [item.similarity for item in items] == [0.5, 0.5, 1.0]
    assert items[2].unchanged and items[2].moved == 0
    assert any("unchanged" in note for note in found.batch.results[0].notes)


def test_items_stay_as_they_are_if_nothing_else_is_allowed(model: OpenModel, tmp_path: Path) -> None:
    lines = ["bbbbbb", "ababab"]
    found = run(model, tmp_path, replace(UP, similarity=1.0), lines)
    assert results(tmp_path) == lines and all(item.unchanged for item in found.batch.results[0].items)


def test_invalid_items_never_win(tmp_path: Path) -> None:
    odd = planted_tokens(valid=False)
    found = run(odd, tmp_path, replace(UP, steps=30), ["bbbbbb", "abbbbb"])
    assert results(tmp_path) == ["baaaaa", "baaaaa"]
    assert [item.after for item in found.batch.results[0].items] == [5, 5]


def test_bounds_of_latents_hold(model: OpenModel, tmp_path: Path) -> None:
    """One value of six crosses zero within a distance of 1.1, and two within 1.5."""
    for within, changes in ((1.1, 1), (1.5, 2)):
        found = run(model, tmp_path, replace(UP, within=within, steps=60), ["bbbbbb"])
        (item,) = found.batch.results[0].items
        assert item.after <= changes and item.moved <= within + 1e-6


def test_targets_and_minima(model: OpenModel, tmp_path: Path) -> None:
    run(model, tmp_path, replace(UP, target=4.0), ["bbbbbb", "aaaaaa"])
    assert [line.count("a") for line in results(tmp_path)] == [4, 4]
    run(model, tmp_path, replace(UP, property="-as", steps=20), ["aaaaaa"])
    assert results(tmp_path) == ["bbbbbb"]


def test_each_sentence_is_measured_once(model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counting.py").write_text(
        "seen = []\ndef measure(items):\n    seen.extend(items)\n    return [item.count('a') for item in items]\n"
    )
    found = run(model, tmp_path, replace(UP, property="counting:measure", method="cma-es"))
    import counting  # type: ignore[import-not-found]

    assert len(counting.seen) == len(set(counting.seen)) > 10
    record = json.loads(found.record.read_text())
    assert len(record["function"]) == 64 and record["similarity"] is None
    assert record["results"][0]["items"][0]["result"] == results(tmp_path)[0]


def test_the_seed_repeats_a_search(model: OpenModel, tmp_path: Path) -> None:
    options = replace(UP, similarity=0.5, steps=6, target=2.0)
    once = run(model, tmp_path, options).batch.results[0].items
    assert run(model, tmp_path, options).batch.results[0].items == once


def test_columns_of_labels_are_estimated(tmp_path: Path) -> None:
    """Of rows, which have no similarity: the column is none of the VAE's, and the estimate is of what is written."""
    path = save_planted(tmp_path / "vae.safetensors")
    rows = open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))
    data, items = tmp_path / "labelled.csv", tmp_path / "rows.csv"
    heights = [6 + 0.2 * number for number in range(40)]
    lines = [f"{height},{number % 7 / 7 - 0.5},yes,{3 * height + 1}" for number, height in enumerate(heights)]
    data.write_text("\n".join(["height,width,ripe,price", *lines]))
    items.write_text("height,width,ripe\n10,0,yes\n")
    options = replace(UP, property="price", data=data, within=1.0, steps=12)
    for method in ("gradient", "auto"):
        found = optimise(rows, [items], tmp_path / method, replace(options, method=method))
        (item,) = found.batch.results[0].items
        assert item.before == pytest.approx(31, abs=0.5) and item.after > 34 and 0 < item.moved <= 1 + 1e-6
        assert found.similarity is None and any("estimated" in note for note in found.notes)
        assert found.estimate is not None and "40" in found.estimate
    with refuses(NotFound, "prize"):
        optimise(rows, [items], tmp_path / "none", replace(options, property="prize"))
    data.write_text("height,width,ripe,price\n" + "10,0,yes,1\n11,0,no,2\n" * 4)
    with refuses(BadPlan, "price"):
        optimise(rows, [items], tmp_path / "none", options)
    with refuses(BadPlan, "rows"):
        optimise(rows, [items], tmp_path / "none", replace(options, similarity=0.4))


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        (replace(UP, property="es"), NotFound, "as"),
        (replace(UP, similarity=1.5), BadPlan, "1.5"),
        (replace(UP, similarity=float("nan")), BadPlan, "nan"),
    ],
)
def test_bad_options_are_refused(
    model: OpenModel, tmp_path: Path, options: OptimiseOptions, error: type[Exception], named: str
) -> None:
    with refuses(error, named):  # type: ignore[arg-type]
        run(model, tmp_path, options)
    assert not (tmp_path / "out").exists()


def test_a_property_that_is_the_same_for_all_has_no_gradient(
    model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "constant_property.py").write_text("def one(items):\n    return [1.0] * len(items)\n")
    options = replace(UP, property="constant_property:one", steps=3)
    found = run(model, tmp_path, options)
    assert found.estimate is None and found.notes and all(item.unchanged for item in found.batch.results[0].items)
    refused = run(model, tmp_path, replace(options, method="gradient")).batch
    assert len(refused.failures) == 1
