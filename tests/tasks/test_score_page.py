import re
from pathlib import Path

import numpy as np
import pytest
from gray_images import fill_with_dents, save_gray_vae
from refusals import refuses
from small_tables import columns, save_table_vae, write_table

from vaekit.errors import CannotWrite
from vaekit.tasks import score_page
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.score import ScoreOptions, score
from vaekit.tasks.score_page import check_page, read_scores, write_score_page


def write_for(vae: Path, data: Path, folder: Path, **options: object) -> str:
    model = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    wanted = ScoreOptions(str(vae), **options)  # type: ignore[arg-type]
    result = score(model, data, folder / "scores.csv", wanted)
    write_score_page(model, data, result, wanted, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def test_a_page_about_images(tmp_path: Path) -> None:
    data = fill_with_dents(tmp_path / "data")
    page = write_for(save_gray_vae(tmp_path / "v.safetensors"), data, tmp_path, score="local")
    assert re.search(r"AUROC</dt>\s*<dd><b>1.000", page)
    assert page.count("data:image/webp") == 3
    assert page.index("test/dent/2.png") < page.index("test/good/0.png")
    assert (tmp_path / "page-heat-maps" / "test" / "dent" / "2.heat.png").is_file()
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_about_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_page, "MOST", 2)
    table = {name: cells[:6] for name, cells in columns().items()}
    table["size"][2] = "900"
    data = write_table(tmp_path / "t.csv", table)
    page = write_for(save_table_vae(tmp_path / "v.safetensors", columns()), data, tmp_path)
    assert page.count("<article>") == 2
    assert page.index("t.csv:4") < page.index("900.00")
    assert "ROC" not in page


def test_scores_are_read_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_page, "MOST", 2)
    path = tmp_path / "s.csv"
    path.write_text(
        "item,score,flagged,reason,label\na,3,0,,good\nb,-1,1,,bad\nc,,,broken,bad\nd,2,0,,\ne,-inf,1,,good\n"
    )
    written = read_scores(path)
    assert [(line.name, line.score, line.flagged, line.label) for line in written.worst] == [
        ("e", -np.inf, True, "good"),
        ("b", -1, True, "bad"),
    ]
    scores, anomalous = written.labelled(None)
    assert scores.tolist() == [3, -1, -np.inf]
    assert anomalous is not None
    assert anomalous.tolist() == [False, True, False]
    assert written.labelled("ugly")[1] is None


def test_a_page_is_html(tmp_path: Path) -> None:
    with refuses(CannotWrite, "page.pdf"):
        check_page(tmp_path / "page.pdf", [])


def test_a_page_overwrites_no_other_file(tmp_path: Path) -> None:
    check_page(tmp_path / "page.html", [tmp_path / "data.csv"])
    with refuses(CannotWrite, "page.html"):
        check_page(tmp_path / "page.html", [tmp_path / "data.csv", tmp_path / "page.html"])
