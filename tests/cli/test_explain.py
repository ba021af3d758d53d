"""`vaekit explain`, and the page of `vaekit score`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gray_images import fill_with_dents, save_gray_vae
from small_tables import columns, save_table_vae, write_table

Run = Callable[..., Any]


def test_images_get_heat_maps(run: Run, tmp_path: Path) -> None:
    vae, data = save_gray_vae(tmp_path / "gray.safetensors"), fill_with_dents(tmp_path / "data")
    said = run("explain", data, "--vae", vae, "--most", 1, "-o", tmp_path / "maps")
    assert said.code == 0, said.err
    assert "test/dent/2.png" in said.out
    assert "x 28-31" in said.out
    assert "--reference" in said.err
    assert (tmp_path / "maps" / "test" / "dent" / "2.heat.png").is_file()
    found = run("explain", data / "test" / "dent" / "2.png", "--vae", vae, "--json").json
    assert found["explanations"][0]["reasons"][0]["where"].startswith("x 28")


def test_a_page_of_scores(run: Run, tmp_path: Path) -> None:
    table = columns()
    vae = save_table_vae(tmp_path / "rows.safetensors", table)
    data = write_table(tmp_path / "t.csv", {name: cells[:4] for name, cells in table.items()})
    said = run("score", data, "--vae", vae, "-o", tmp_path / "s.csv", "--page", tmp_path / "s.html")
    assert said.code == 0, said.err
    assert "t.csv:2" in (tmp_path / "s.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("score", "DATA", "--page", "s.pdf"), 1), (("score", "DATA", "--score", "local"), 1), (("explain", "no.csv"), 1)],
)
def test_refusals(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    table = columns()
    vae = save_table_vae(tmp_path / "rows.safetensors", table)
    data = write_table(tmp_path / "t.csv", {name: cells[:4] for name, cells in table.items()})
    given = [str(data) if each == "DATA" else each for each in arguments]
    said = run(*given, "--vae", vae, *(["-o", tmp_path / "s.csv"] if "score" in given else []))
    assert said.code == code
    assert "Traceback" not in said.err
    assert not (tmp_path / "s.csv").exists()


def test_a_row_can_be_named_as_in_scores(run: Callable[..., Any], tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", columns())
    table = write_table(tmp_path / "t.csv", columns())
    result = run("explain", f"{table}:17", "--vae", vae, "--json")
    assert result.code == 0
    assert [each["name"] for each in result.json["explanations"]] == ["t.csv:17"]
    for wrong in (f"{table}:999", f"{tmp_path}/none.csv:17"):
        missing = run("explain", wrong, "--vae", vae, "--json")
        assert missing.code == 1 and missing.json["error"]["kind"] in ("NotFound", "NoTrainingData")
