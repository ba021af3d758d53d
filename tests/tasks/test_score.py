"""`tasks.score`: rows, sentences and images; references, thresholds, labels, and items that cannot be scored."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from linear_vae import rows
from PIL import Image
from refusals import refuses
from small_index import small_images, square_model

from vaekit.anomaly.reference import RELATIVE_SCORES, SCORES
from vaekit.anomaly.reference_files import record_path
from vaekit.domains.domain import ItemBatch, ItemStream
from vaekit.errors import BadItem, BadPlan, BadReference, CannotWrite, NotFound, NoTrainingData
from vaekit.tasks import scorer
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reference import ThresholdOptions, normal_in
from vaekit.tasks.score import ScoreOptions, score
from vaekit.tasks.score_lines import HEADER, NO_VALUE, NOT_FINITE, Totals, lines_of
from vaekit.tasks.train import TrainOptions, train

NAMES = ("a", "b", "c", "d", "e", "f")


def table(path: Path, count: int, seed: int = 0, spread: float = 1.0, broken: tuple[int, ...] = ()) -> Path:
    """Rows of a linear model, with a column of labels: 1 for wide rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "fault"])
        for number, values in enumerate(rows(count, seed, spread=spread).tolist()):
            cells = ["broken", *values[1:]] if number in broken else values
            writer.writerow([*cells, int(spread > 1)])
    return path


def appended(path: Path, other: Path) -> Path:
    """A table with the rows of another one at its end."""
    path.write_text(path.read_text("utf-8") + other.read_text("utf-8").split("\n", 1)[1], "utf-8")
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE of rows that was hardly trained."""
    folder = tmp_path_factory.mktemp("rows")
    data = folder / "data.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([NAMES, *rows(200).tolist()])
    train(TrainOptions("tables", data, folder / "run", samples=64, device="cpu"))
    return folder / "run"


@pytest.fixture
def model(run: Path, tmp_path: Path) -> OpenModel:
    """The VAE in a folder of its own."""
    own = tmp_path / "vae.safetensors"
    own.write_bytes((run / "vae.safetensors").read_bytes())
    return open_model(ModelOptions(str(own)), EngineOptions(device="cpu"))


def options(tmp_path: Path, **changes: object) -> ScoreOptions:
    return replace(ScoreOptions(str(tmp_path / "vae.safetensors"), [tmp_path / "models"]), **changes)


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(path: Path) -> list[float]:
    return [float(line["score"]) for line in lines(path)]


def test_every_row_has_a_line_in_order(model: OpenModel, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", 30, broken=(4, 9))
    result = score(model, data, tmp_path / "scores.csv", options(tmp_path))
    found = lines(result.out)
    assert tuple(found[0]) == HEADER
    assert [line["item"] for line in found] == [f"data.csv:{number}" for number in range(2, 32)]
    assert [i for i, line in enumerate(found) if not line["score"]] == [4, 9]
    assert "broken" in found[4]["reason"] and "data.csv:6" in found[4]["reason"]
    assert (result.items, result.not_scored, result.threshold, result.flagged) == (30, 2, None, 0)
    assert list(result.reasons) == ["data.csv:6", "data.csv:11"]
    assert all(not line["flagged"] for line in found)
    record = json.loads((tmp_path / "scores.csv.json").read_text("utf-8"))
    assert (record["score"], record["items"], record["vae"]["fingerprint"]) == (
        "likelihood",
        30,
        model.origin.fingerprint,
    )


@pytest.mark.parametrize("name", ["likelihood", "ensemble"])
def test_scores_do_not_depend_on_the_batch(
    name: str, model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, normal = table(tmp_path / "data.csv", 50), table(tmp_path / "normal.csv", 60, seed=1)
    score(model, data, tmp_path / "whole.csv", options(tmp_path, score=name, reference=normal))
    monkeypatch.setattr(scorer, "MOST_ITEMS", 7)
    score(model, data, tmp_path / "parts.csv", options(tmp_path, score=name, reference=normal))
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "parts.csv").read_bytes()


@pytest.mark.parametrize("rows", ["", ",,,,,,\n" * 3])
def test_data_without_rows_are_refused(rows: str, model: OpenModel, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text(f"{','.join(NAMES)},fault\n{rows}", "utf-8")
    with pytest.raises(NoTrainingData):
        score(model, data, tmp_path / "scores.csv", options(tmp_path))
    assert not (tmp_path / "scores.csv").exists()


def test_a_limit_scores_the_first_items(model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "MOST_ITEMS", 4)
    data = table(tmp_path / "data.csv", 20)
    score(model, data, tmp_path / "all.csv", options(tmp_path))
    seen: list[tuple[int, int]] = []
    result = score(model, data, tmp_path / "few.csv", options(tmp_path, limit=6), lambda *done: seen.append(done))
    assert result.items == 6 and seen[-1] == (6, 6)
    assert values(tmp_path / "few.csv") == values(tmp_path / "all.csv")[:6]


def test_a_reference_gives_thresholds_that_are_kept(model: OpenModel, tmp_path: Path) -> None:
    normal = table(tmp_path / "normal.csv", 100, seed=1, broken=(0,))
    wide = table(tmp_path / "wide.csv", 20, seed=2, spread=20)
    for name in SCORES:
        if name == "kl":
            continue
        result = score(model, wide, tmp_path / "scores.csv", options(tmp_path, score=name, reference=normal))
        assert result.threshold is not None and result.threshold.rule == "contamination"
        assert (result.threshold.wanted, result.threshold.flagged, result.reference_items) == (0.05, 5, 99)
        assert result.flagged > 15, name
        first = (tmp_path / "scores.csv").read_bytes()
        again = score(model, wide, tmp_path / "scores.csv", options(tmp_path, score=name))
        assert (tmp_path / "scores.csv").read_bytes() == first
        assert again.threshold == result.threshold and again.reference == result.reference
    assert result.fitted and not again.fitted and any("1 row that" in note for note in result.notes)
    flags = [line["flagged"] for line in lines(tmp_path / "scores.csv")]
    assert flags.count("1") == again.flagged and set(flags) <= {"0", "1"}


def test_another_rule_for_one_call(model: OpenModel, tmp_path: Path) -> None:
    normal = table(tmp_path / "normal.csv", 100, seed=1)
    strict = ThresholdOptions(false_positive_rate=0.02)
    first = score(model, normal, tmp_path / "s.csv", options(tmp_path, reference=normal, threshold=strict))
    assert first.threshold is not None and first.threshold.rule == "false_positive_rate" and first.flagged <= 2
    loose = score(model, normal, tmp_path / "s.csv", options(tmp_path, threshold=ThresholdOptions(contamination=0.2)))
    assert loose.flagged == 20
    assert score(model, normal, tmp_path / "s.csv", options(tmp_path)).threshold == first.threshold


def test_the_number_of_latents_is_kept(model: OpenModel, tmp_path: Path) -> None:
    normal = table(tmp_path / "normal.csv", 30)
    few = score(model, normal, tmp_path / "few.csv", options(tmp_path, draws=2))
    assert values(few.out) != values(score(model, normal, tmp_path / "many.csv", options(tmp_path)).out)
    score(model, normal, tmp_path / "fit.csv", options(tmp_path, draws=2, reference=normal))
    kept = score(model, normal, tmp_path / "kept.csv", options(tmp_path))
    assert values(kept.out) == values(few.out)
    with refuses(BadPlan, 2, 8):
        score(model, normal, tmp_path / "s.csv", options(tmp_path, draws=8))


def test_scores_that_need_a_reference_name_the_command(model: OpenModel, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", 5)
    for name in RELATIVE_SCORES:
        with refuses(NotFound, name, "--reference", data.name):
            score(model, data, tmp_path / "s.csv", options(tmp_path, score=name))
    with refuses(NotFound, "--reference"):
        score(model, data, tmp_path / "s.csv", options(tmp_path, threshold=ThresholdOptions(contamination=0.1)))
    assert not (tmp_path / "s.csv").exists()


def test_labels_give_auroc_and_the_best_f1(model: OpenModel, tmp_path: Path) -> None:
    data = appended(table(tmp_path / "data.csv", 40), table(tmp_path / "more.csv", 10, seed=4, spread=20))
    result = score(model, data, tmp_path / "s.csv", options(tmp_path, reference=data, labels="fault"))
    assert result.reference_items == 40 and any("10" in note for note in result.notes)
    assert result.threshold is not None and result.threshold.rule == "f1" and (result.threshold.recall or 0) > 0.8
    assert result.detection is not None and result.detection.auroc > 0.95
    assert (result.detection.normal, result.detection.anomalies) == (40, 10)
    assert [line["label"] for line in lines(tmp_path / "s.csv")] == ["0"] * 40 + ["1"] * 10
    flipped = score(model, data, tmp_path / "s.csv", options(tmp_path, labels="fault", normal="1"))
    assert flipped.detection is not None
    assert flipped.detection.auroc == pytest.approx(1 - result.detection.auroc)
    with refuses(NotFound, "defect"):
        score(model, data, tmp_path / "s.csv", options(tmp_path, labels="defect"))


def test_items_without_any_value_are_not_scored() -> None:
    x = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan], [2.0, 3.0], [torch.nan, torch.nan]])
    batch = ItemBatch(["a", "b", "c", "d"], x, {3: "It is damaged."})
    assert scorer.usable_places(batch) == [0, 2]
    lines, totals = lines_of(batch, torch.tensor([1.0, torch.nan, 2.0, torch.nan]), None, Totals()), Totals()
    assert [line[1] for line in lines] == ["1", "", "2", ""]
    assert [line[3] for line in lines] == ["", NO_VALUE, "", "It is damaged."]
    lines_of(batch, torch.tensor([torch.nan] * 4), None, totals)
    assert totals.not_scored == 4 and totals.reasons["a"] == NOT_FINITE


def test_the_label_of_normal_items() -> None:
    batch = ItemBatch(["a", "b"], torch.zeros(2, 1), labels=["1", None])
    known, unknown = ItemStream(iter(()), 2, frozenset({"0", "1"})), ItemStream(iter(()))
    assert normal_in(known, batch, None) == normal_in(known, batch, "0") == "0"
    assert normal_in(unknown, batch, " 0.0") == "0"  # it may occur later
    for stream, wanted in ((known, "2"), (unknown, None)):
        with refuses(NoTrainingData):
            normal_in(stream, batch, wanted)


def test_bad_options_and_outputs_are_refused(model: OpenModel, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", 5)
    with refuses(BadPlan, "likelyhood", "likelihood"):
        score(model, data, tmp_path / "s.csv", options(tmp_path, score="likelyhood"))
    with refuses(CannotWrite, "data.csv"):
        score(model, data, data, options(tmp_path))
    with refuses(NotFound):
        score(model, tmp_path / "absent.csv", tmp_path / "s.csv", options(tmp_path))
    broken = table(tmp_path / "broken.csv", 3, broken=(0, 1, 2))
    with refuses(BadItem, 3):
        score(model, broken, tmp_path / "s.csv", options(tmp_path))
    with refuses(BadItem):
        score(model, data, tmp_path / "s.csv", options(tmp_path, reference=broken))
    assert not (tmp_path / "s.csv").exists()


def test_a_damaged_reference_is_refused(model: OpenModel, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", 20)
    result = score(model, data, tmp_path / "s.csv", options(tmp_path, reference=data))
    assert result.reference is not None
    record_path(result.reference).write_text("{}", "utf-8")
    with refuses(BadReference, result.reference.name):
        score(model, data, tmp_path / "s.csv", options(tmp_path))


def test_rows_of_other_columns_are_refused(model: OpenModel, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("x,y\n1,2\n3,4\n", "utf-8")
    with refuses(BadItem, "a"):
        score(model, other, tmp_path / "s.csv", options(tmp_path))


def test_images_in_class_folders(tmp_path: Path) -> None:
    model = square_model(tmp_path / "vae.safetensors")
    for number, pixels in enumerate(small_images(12)):
        folder = tmp_path / "data" / ("good" if number < 8 else "crack")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if number < 8 else np.full_like(pixels, 255)).save(folder / f"{number:02}.png")
    (tmp_path / "data" / "good" / "99.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    wanted = options(tmp_path, reference=tmp_path / "data", labels="folder")
    result = score(model, tmp_path / "data", tmp_path / "s.csv", wanted)
    assert (result.items, result.not_scored, result.reference_items) == (13, 1, 8)
    assert result.detection is not None and result.detection.normal == 8
    found = {line["item"]: line for line in lines(tmp_path / "s.csv")}
    assert len(found) == 13 and sum(not line["score"] for line in found.values()) == 1
    alone = score(model, tmp_path / "data" / "good" / "03.png", tmp_path / "one.csv", options(tmp_path))
    assert alone.items == 1
    assert next(iter(values(tmp_path / "one.csv"))) == float(found["good/03.png"]["score"])


def test_sentences(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("".join(f"the {word} sleeps\n" for word in ("cat", "dog", "bird", "fish") * 5), "utf-8")
    changes = ("vae.net.width=8", "vae.net.latent_channels=2", "data.unit=words", "data.length=8")
    train(TrainOptions("text", data, tmp_path / "run", samples=64, device="cpu", changes=changes))
    model = open_model(ModelOptions(str(tmp_path / "run")), EngineOptions(device="cpu"))
    result = score(
        model, data, tmp_path / "s.csv", ScoreOptions(str(tmp_path / "run"), reference=data, score="ensemble")
    )
    assert result.items == 20 and torch.tensor(values(tmp_path / "s.csv")).isfinite().all()
    assert open_model(ModelOptions(str(tmp_path / "run"))).origin == model.origin


def test_columns_are_copied(model: OpenModel, tmp_path: Path) -> None:
    ids = ["007", " a b ", "", "NA", "12,5"]
    cells = [list(map(str, values)) for values in rows(5).tolist()]
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["id", "score", *NAMES, "count"])
        csv.writer(file).writerows([each, number, *cells[number], number / 2] for number, each in enumerate(ids))
    broken = (tmp_path / "data.csv").read_text("utf-8").replace(cells[3][0], "broken")
    (tmp_path / "data.csv").write_text(broken, "utf-8")
    result = score(model, tmp_path / "data.csv", tmp_path / "s.csv", options(tmp_path, keep=("id", "score", "count")))
    with result.out.open(newline="", encoding="utf-8") as file:
        header, *written = csv.reader(file)
    assert header == [*HEADER, "id", "score (data)", "count"]
    assert [line[0] for line in written] == [f"data.csv:{number}" for number in range(2, 7)]
    assert [line[4] for line in written] == ["007", " a b ", "", "", "12,5"]
    assert [line[5:] for line in written] == [[str(number), f"{number / 2:g}"] for number in range(5)]
    assert written[3][1] == "" and "broken" in written[3][3]
    assert json.loads((tmp_path / "s.csv.json").read_text("utf-8"))["keep"] == ["id", "score", "count"]


def test_columns_beside_labels_of_a_folder(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in (1, 2):
        table(tmp_path / "data" / f"{number}.csv", 3, seed=number)
    wanted = options(tmp_path, keep=("file", "a"), labels="fault")
    found = lines(score(model, tmp_path / "data", tmp_path / "s.csv", wanted).out)
    assert list(found[0]) == [*HEADER, "label", "file", "a"]
    assert [line["file"] for line in found] == ["1"] * 3 + ["2"] * 3
    assert float(found[0]["a"]) == pytest.approx(rows(3, 1)[0, 0].item())


def test_columns_that_are_missing_are_refused_before_the_reference_is_computed(
    model: OpenModel, tmp_path: Path
) -> None:
    data = table(tmp_path / "data.csv", 5)
    with refuses(NotFound, "falt", "fault"):
        score(model, data, tmp_path / "s.csv", options(tmp_path, keep=("falt",), reference=data))
    assert not list(tmp_path.glob("*anomaly*"))
    square = square_model(tmp_path / "square.safetensors")
    Image.fromarray(small_images(1)[0]).save(tmp_path / "1.png")
    with refuses(NotFound, "id", "columns"):
        score(square, tmp_path / "1.png", tmp_path / "s.csv", options(tmp_path, keep=("id",)))


def test_files_that_hold_no_scores_are_not_overwritten(model: OpenModel, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", 20)
    statistics = tmp_path / "vae.safetensors.anomaly.safetensors"
    for absent in (statistics, record_path(statistics)):  # which would be written, and overwritten
        with refuses(CannotWrite, absent.name):
            score(model, data, absent, options(tmp_path, reference=data))
    score(model, data, tmp_path / "s.csv", options(tmp_path, reference=data))
    (tmp_path / "notes.txt").write_text("notes", "utf-8")
    (tmp_path / "t.csv.json").write_text("{}", "utf-8")
    (tmp_path / "link.csv").symlink_to(tmp_path / "vae.safetensors")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    names = ("vae.safetensors", statistics.name, record_path(statistics).name, "data.csv", "notes.txt", "t.csv")
    for name in (*names, "link.csv", statistics.name.removesuffix(".safetensors")):
        with refuses(CannotWrite, name):
            score(model, data, tmp_path / name, options(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    score(model, data, tmp_path / "s.csv", options(tmp_path))
    (tmp_path / "empty.csv").touch()
    assert score(model, data, tmp_path / "empty.csv", options(tmp_path)).items == 20
