from collections.abc import Sequence
from pathlib import Path

import pytest
from gray_images import fill_with_dents, save_gray_vae
from refusals import refuses
from small_tables import columns, save_table_vae, write_table

from vaekit.domains.tables.explain import UNKNOWN
from vaekit.errors import BadItem, NotFound
from vaekit.tasks.explain import ExplainOptions, explain
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.score import ScoreOptions, score


def opened(path: Path) -> OpenModel:
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


@pytest.fixture
def image_vae(tmp_path: Path) -> Path:
    return save_gray_vae(tmp_path / "gray.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill_with_dents(tmp_path / "data")


def test_a_dent_is_found_and_shown(image_vae: Path, folder: Path, tmp_path: Path) -> None:
    found = explain(opened(image_vae), [folder], tmp_path / "maps", ExplainOptions(str(image_vae), most=1))
    assert found.items == 3
    (dent,) = found.explanations
    assert dent.name == "test/dent/2.png"
    assert dent.reasons[0].where == "x 28-31, y 0-2"
    assert dent.reasons[0].value == "255"
    assert int(dent.reasons[0].expected) == pytest.approx(128, abs=2)
    assert [path.relative_to(tmp_path).as_posix() for path in dent.files] == ["maps/test/dent/2.heat.png"]


def test_scores_of_a_folder_know_its_labels(image_vae: Path, folder: Path, tmp_path: Path) -> None:
    model = opened(image_vae)
    found = score(model, folder, tmp_path / "scores.csv", ScoreOptions(str(image_vae), score="local"))
    assert found.items == 3
    assert found.detection is not None
    assert (found.detection.normal, found.detection.anomalies, found.detection.auroc) == (2, 1, 1.0)


def test_contributions_are_compared_with_normal_images(image_vae: Path, folder: Path, tmp_path: Path) -> None:
    model = opened(image_vae)
    before = explain(model, [folder / "test"], None, ExplainOptions(str(image_vae)))
    score(model, folder, tmp_path / "s.csv", ScoreOptions(str(image_vae), reference=folder / "train"))
    after = explain(model, [folder / "test"], None, ExplainOptions(str(image_vae)))
    assert before.reference is None
    assert after.reference is not None
    assert list(after.scores) == sorted(after.scores)
    assert sum(each.nats for each in after.explanations) != sum(each.nats for each in before.explanations)


def names(found: Sequence[object]) -> list[str]:
    return [each.where for each in found]  # type: ignore[attr-defined]


def test_rows_are_explained_by_columns(tmp_path: Path) -> None:
    table = columns()
    vae = save_table_vae(tmp_path / "rows.safetensors", table)
    data = write_table(tmp_path / "t.csv", {name: cells[:5] for name, cells in table.items()})
    table["size"][3], table["color"][3], table["ill"][3] = "900", "", "perhaps"
    odd = write_table(tmp_path / "odd.csv", {name: cells[:5] for name, cells in table.items()})
    found = explain(opened(vae), [data, odd], None, ExplainOptions(str(vae), most=1))
    assert found.items == 10
    (row,) = found.explanations
    assert row.name == "odd.csv:5"
    assert row.reasons[0].where == "size"
    assert float(row.reasons[0].value) == 900
    assert " to " in row.reasons[0].interval
    assert {reason.where: reason.value for reason in row.reasons}["ill"] == UNKNOWN
    assert set(names(row.reasons)) == set(table) - {"color"}
    assert row.nats == pytest.approx(sum(reason.nats for reason in row.reasons))


def test_items_that_cannot_be_explained(image_vae: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no image")
    with refuses(BadItem, "0.png"):
        explain(opened(image_vae), [tmp_path / "broken"], None, ExplainOptions(str(image_vae)))
    with refuses(NotFound, "nothing"):
        explain(opened(image_vae), [tmp_path / "nothing"], None, ExplainOptions(str(image_vae)))
