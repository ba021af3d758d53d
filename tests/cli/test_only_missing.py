"""`vaekit reconstruct --only-missing`."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from small_tables import columns, save_table_vae, write_table

TABLE = columns()
GAPS = {
    name: ["" if (i + k) % 4 == 0 else cell for i, cell in enumerate(cells)]
    for k, (name, cells) in enumerate(TABLE.items())
}


def test_only_missing_cells_of_a_file_change(run: Callable[..., Any], tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", TABLE)
    table = write_table(tmp_path / "gaps.csv", GAPS)
    result = run(
        "reconstruct", str(table), "--vae", str(vae), "--only-missing", "--out", str(tmp_path / "out"), "--json"
    )
    assert result.code == 0
    filled = list(csv.DictReader((tmp_path / "out" / "gaps.csv").read_text().splitlines()))
    assert all(
        row[name] == cell or not cell for name, cells in GAPS.items() for row, cell in zip(filled, cells, strict=True)
    )
    assert all(cell for row in filled for cell in row.values())
    values = list(csv.DictReader((tmp_path / "out" / "gaps.imputed.csv").read_text().splitlines()))
    assert (
        result.json["files"][0]["imputed"] == len(values) == sum(not cell for cells in GAPS.values() for cell in cells)
    )
    assert values[0]["row"] == "gaps.csv:2"


def test_columns_that_the_vae_does_not_know_are_kept(run: Callable[..., Any], tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", TABLE)
    count = len(GAPS["ill"])
    table = {"id": [f"C{i}" for i in range(count)], **GAPS, "note": ["", "x"] * (count // 2)}
    write_table(tmp_path / "gaps.csv", table)
    for flag in (["--only-missing"], []):
        out = tmp_path / f"out{len(flag)}"
        assert run("reconstruct", tmp_path / "gaps.csv", "--vae", vae, *flag, "--out", out).code == 0
        filled = list(csv.DictReader((out / "gaps.csv").read_text().splitlines()))
        assert list(filled[0]) == list(table if flag else TABLE)
        if flag:
            assert [row["id"] for row in filled] == table["id"] and [row["note"] for row in filled] == table["note"]


def test_images_have_no_missing_values(run: Callable[..., Any], tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    result = run("reconstruct", str(tmp_path / "a.png"), "--vae", "builtin", "--only-missing", "--json")
    assert result.code == 1 and result.json["error"]["kind"] == "BadItem"


def test_rows_that_cannot_be_used_stay_as_they_are(run: Callable[..., Any], tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", TABLE)
    lines = write_table(tmp_path / "gaps.csv", GAPS).read_text().splitlines()
    lines[2] = "too,few"
    lines[5] = lines[5].replace(lines[5].split(",")[1], "large", 1)
    (tmp_path / "gaps.csv").write_text("\n".join(lines) + "\n")
    result = run(
        "reconstruct", tmp_path / "gaps.csv", "--vae", vae, "--only-missing", "--out", tmp_path / "out", "--json"
    )
    assert result.code == 0 and len(result.json["files"][0]["skipped"]) == 2
    filled = (tmp_path / "out" / "gaps.csv").read_text().splitlines()
    assert len(filled) == len(lines) - 1, "a line that is no row cannot be written as one"
    assert filled[4] == lines[5] and all(filled[place].count(",") == 6 for place in range(len(filled)))
