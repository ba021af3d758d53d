"""Molecules from the command line, from training to every verb."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from refusals import refuses

from vaekit.cli import app
from vaekit.domains.molecules import sample_quality
from vaekit.domains.molecules.chemistry import canonical, canonical_or_empty, read_smiles
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.schema import TableSchema
from vaekit.errors import BadPlan, MissingPackage
from vaekit.tasks.sample_evaluation import SampleEvaluationOptions, comparison_of

CHAINS = [
    "C" * first + middle + "C" * last for first in range(1, 7) for middle in ("O", "N", "S") for last in range(1, 7)
]
BAD = "CCOC ether\nnotasmiles x\n\n[U] metal\nCCNCC\n"
SMALL = (
    *("--samples", 600, "--set", "schedule.warmup_samples=100", "--set", "vae.net.width=16"),
    *("--set", "vae.net.latent_channels=4", "--set", "vae.net.embedding=8", "--set", "schedule.learning_rate=1e-2"),
)


def call(*arguments: object, status: int | None = None) -> Any:
    """Run a command in this process; it has to end with this exit status."""
    output = io.StringIO()
    with redirect_stdout(output):
        ended = app([*map(str, arguments), "--json"], standalone_mode=False)
    assert ended == status
    return json.loads(output.getvalue())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("molecules") / "chains.smi"
    path.write_text("SMILES name\n" + "".join(f"{text} m{place}\n" for place, text in enumerate(CHAINS)) + "bad( b\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    call("train", "molecules", "--data", data, "--out", folder, *SMALL)
    assert (folder / "skipped.txt").read_text().startswith("chains.smi:110\t")
    return folder


def test_a_run_has_examples(run: Path, tmp_path: Path) -> None:
    samples = (run / "examples" / "samples.smi").read_text().splitlines()
    header, *pairs = (run / "examples" / "reconstructions.smi").read_text().splitlines()
    assert len(samples) == 20 and header.startswith("smiles\t") and 0 < len(pairs) <= 20
    assert all(pair.split("\t")[0] in map(canonical_or_empty, CHAINS) for pair in pairs)
    assert {path.suffix for path in (run / "examples").iterdir()} == {".smi", ".svg"}
    call("sample", "--vae", run, "-n", 20, "--keep-invalid", "--out", tmp_path)
    assert (tmp_path / "samples.smi").read_text().splitlines() == samples


def test_samples_are_written_and_drawn(run: Path, tmp_path: Path) -> None:
    call("sample", "--vae", run, "-n", 7, "--out", tmp_path)
    lines = (tmp_path / "samples.smi").read_text().splitlines()
    assert len(lines) == 7
    assert all(line == "\tinvalid" or canonical(read_smiles(line)) == line for line in lines)
    assert "<svg" in (tmp_path / "samples.svg").read_text()


def test_reconstructions_keep_the_places_of_molecules_that_cannot_be_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.smi").write_text(BAD)
    found = call("reconstruct", tmp_path / "bad.smi", "--vae", run, "--out", tmp_path / "out", "--side-by-side")
    (result,) = found["files"]
    assert set(result["skipped"]) == {"bad.smi:2", "bad.smi:3", "bad.smi:4"}
    lines = (tmp_path / "out" / "bad.smi").read_text().splitlines()
    assert len(lines) == 5 and lines[1:4] == ["\tinvalid"] * 3
    pairs = [line.split("\t") for line in (tmp_path / "out" / "bad.side-by-side.smi").read_text().splitlines()]
    assert [pair[:2] for pair in pairs[1:]] == [
        ["CCOC", "ether"],
        ["notasmiles", "x"],
        ["", ""],
        ["[U]", "metal"],
        ["CCNCC", ""],
    ]
    assert [pair[2:] for pair in pairs[2:5]] == [["", "nan"]] * 3


def test_paths_indexes_and_latents(run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "ends.smi").write_text("CCOC\nCCCCNCC\n")
    call("interpolate", tmp_path / "ends.smi", "--vae", run, "--out", tmp_path / "path", "--steps", 3)
    assert len((tmp_path / "path" / "interpolation.smi").read_text().splitlines()) == 5
    call("traverse", tmp_path / "ends.smi", "--vae", run, "--out", tmp_path / "axes")
    assert len(list((tmp_path / "axes").glob("*.smi"))) > 1 and (tmp_path / "axes" / "traversal.svg").is_file()
    call("encode", tmp_path / "ends.smi", "--vae", run, "--out", tmp_path)
    call("decode", tmp_path / "ends.latent.safetensors", "--vae", run, "--out", tmp_path / "decoded")
    assert len((tmp_path / "decoded" / "ends.smi").read_text().splitlines()) == 2
    call("index", data, "--vae", run, "--out", tmp_path / "index")
    found = call("search", tmp_path / "ends.smi", "--index", tmp_path / "index", "--out", tmp_path / "found", "-k", 3)
    assert len(found["neighbors"]) == 3 and (tmp_path / "found" / "search.png").is_file()


def test_evaluations(run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_quality, "fcd", lambda *_: "Not in this test.")
    given = ("--vae", run, "--data", data, "--limit", 20, "--nll", 2, "--samples", 70)
    found = call("evaluate", *given, "--trained-on", data, "--out", tmp_path)
    assert {"exact_match", "tanimoto", "valid", "token_accuracy", "kl"} <= set(found["results"])
    samples = found["samples"]
    assert samples["count"] == 70 and {"valid", "unique_70", "novel"} <= set(samples["values"])
    assert json.loads((tmp_path / "samples.json").read_text())["values"] == samples["values"]
    page = (tmp_path / "evaluation.html").read_text()
    assert "unique@70" in page and page.count("data:image") >= 2 and "<script" not in page
    assert "samples" not in call("evaluate", *given[:-1], 0)


def test_samples_of_other_domains_are_not_evaluated(data: Path) -> None:
    for options in (SampleEvaluationOptions(10), SampleEvaluationOptions(trained_on=data)):
        with pytest.raises(BadPlan):
            comparison_of(TABLES, data, TableSchema(()), options)


@pytest.mark.parametrize("package", ["rdkit", "selfies"])
def test_a_missing_package_is_named_once(run: Path, data: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for verb in (("score", data, "--vae", run), ("train", "molecules", "--data", data, "--out", run / "other")):
        with refuses(MissingPackage, package, "pip install 'vaekit[molecules]'"):
            call(*verb)


def test_the_help_page_imports_no_chemistry() -> None:
    code = "import sys; from vaekit.cli import app; app(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = shown.splitlines()[-1]
    assert "'rdkit'" not in modules and "'selfies'" not in modules and "'torch'" not in modules
